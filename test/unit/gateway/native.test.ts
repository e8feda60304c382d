// The native API at the gateway, over a double of the nodes: what it refuses before a node is asked.
import { describe, expect, test } from "vitest";
import { type NodeService } from "../../../shared/object-protocol.ts";
import { RingstowClient } from "../../../shared/client.ts";
import { type NodeId } from "../../../shared/ids.ts";
import { NATIVE_ROUTES, type NativeCall, type NativeRoute } from "../../../shared/native-api.ts";
import { nativeTarget } from "../../../gateway/native/native-route.ts";
import { openApi } from "../../../gateway/native/documents.ts";
import { Query } from "../../../gateway/s3/target.ts";
import { HOST, KEYS, REGION, TestGateway } from "./test-gateway.ts";

type Finish = Parameters<NodeService["finishWrite"]>[0];

async function gatewayThatFinishes() {
  const finished: Finish[] = [];
  const gateway = new TestGateway(
    {},
    {
      finishWrite: (request) => {
        finished.push(request);
        return Promise.resolve({
          version: 1,
          etag: "",
          size: 0,
          lastModifiedMs: 0,
          replicas: [],
          unlocked: true,
        });
      },
    },
  );
  await gateway.send("PUT", "/photos");
  const finish = (described: object) =>
    gateway.send("POST", "/v1/finish/photos/a", {
      body: JSON.stringify({
        fence: 1,
        node: "1".repeat(32),
        block: "2".repeat(32),
        ...described,
      }),
    });
  return { gateway, finished, finish };
}

describe("finishWrite", () => {
  test("hands on what is to be stored with the object", async () => {
    const { finish, finished } = await gatewayThatFinishes();
    const described = { contentType: "text/plain", metadata: { Colour: "blue" } };
    expect((await finish(described)).status).toBe(200);
    expect((await finish({})).status).toBe(200);
    expect(finished.map((request) => request.described)).toEqual([
      { headers: { contentType: "text/plain" }, metadata: { colour: "blue" } },
      undefined,
    ]);
  });

  test("refuses a description that no answer about the object could carry", async () => {
    const { finish, finished } = await gatewayThatFinishes();
    for (const described of [
      { contentType: "text/\nplain" },
      { metadata: { a: "x\r\nset-cookie: y" } },
      { metadata: { a: "日本" } },
      { metadata: { "a b": "x" } },
    ]) {
      const response = await finish(described);
      expect([response.status, await response.json()]).toMatchObject([
        400,
        { code: "InvalidArgument" },
      ]);
    }
    const long = await finish({ metadata: { a: "x".repeat(2048) } });
    expect(await long.json()).toMatchObject({ code: "MetadataTooLarge" });
    expect(finished).toEqual([]);
  });
});

test("a parameter that a call does not have is refused, and nothing is written", async () => {
  const gateway = new TestGateway();
  await gateway.send("PUT", "/photos");
  for (const target of [
    "/v1/objects/photos/a?acl",
    "/v1/objects/photos/a?uploadId=1&partNumber=1",
    "/v1/objects/photos/a?prefix=x",
  ]) {
    const refused = await gateway.send("PUT", target, { body: "x" });
    expect([refused.status, await refused.json()], target).toMatchObject([
      400,
      { code: "InvalidRequest" },
    ]);
  }
  expect((await gateway.send("GET", "/photos/a")).status).toBe(404);
  const url = await gateway.presign("PUT", "/v1/objects/photos/a");
  const headers = { host: HOST, "content-length": "1" };
  expect((await gateway.raw("PUT", url, headers, "x")).status).toBe(200);
});

describe("OpenAPI document", () => {
  interface Operation {
    readonly operationId: NativeCall;
    readonly parameters: readonly { name: string; in: string; required: boolean }[];
    readonly requestBody?: unknown;
    readonly responses: Record<string, { description: string; content?: unknown }>;
  }
  const { paths } = openApi() as { paths: Record<string, Record<string, Operation>> };
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );

  test("has every call once, under the path that the gateway routes to it", () => {
    const named = operations.map(({ operation }) => operation.operationId);
    expect(named.toSorted()).toEqual(Object.keys(NATIVE_ROUTES).toSorted());
    for (const { path, method, operation } of operations) {
      const target = nativeTarget(
        method.toUpperCase(),
        path.replace("{bucket}", "photos").replace("{key}", "dir/a"),
        new Query([]),
      );
      expect(target.call).toBe(operation.operationId);
    }
  });

  test("names every parameter and every answer of a call", () => {
    for (const { path, operation } of operations) {
      const route: NativeRoute = NATIVE_ROUTES[operation.operationId];
      const inPath = operation.parameters.filter((one) => one.in === "path");
      expect(inPath.map(({ name }) => `{${name}}`)).toEqual(path.match(/\{\w+\}/gu) ?? []);
      expect(inPath.every(({ required }) => required)).toBe(true);
      const query = operation.parameters.filter((one) => one.in === "query");
      expect(query.map(({ name }) => name)).toEqual(Object.keys(route.query ?? {}));
      expect(operation.requestBody !== undefined).toBe(route.request !== undefined);
      const statuses = [route.status, ...Object.keys(route.otherwise ?? {})].map(String);
      expect(Object.keys(operation.responses).toSorted()).toEqual([...statuses, "default"]);
    }
    expect(
      operations.find(({ operation }) => operation.operationId === "beginWrite"),
    ).toMatchObject({ operation: { responses: { 201: {}, 202: {} } } });
  });

  test("says of every value what it is", () => {
    const empty: string[] = [];
    const walk = (value: unknown, at: string): void => {
      if (typeof value !== "object" || value === null) return;
      const inner = Object.entries(value);
      if (inner.length === 0) empty.push(at);
      for (const [name, child] of inner) walk(child, `${at}/${name}`);
    };
    walk(paths, "");
    // Calls without parameters have an empty list of them.
    expect(empty.filter((at) => !at.endsWith("/parameters"))).toEqual([]);
  });
});

describe("RingstowClient", () => {
  const id = "1".repeat(32);
  const node = { id: id as NodeId, url: "http://127.0.0.1:1", zone: "a" };
  const begun = {
    fence: 3,
    leaseMs: 1000,
    node,
    block: "2".repeat(32),
    baseVersion: 0,
    baseSize: 0,
  };

  function clientOf(gateway: TestGateway): { client: RingstowClient; called: Set<NativeCall> } {
    const called = new Set<NativeCall>();
    gateway.nowMs = Date.now(); // the client signs by the system's clock
    const fetch = async (url: string, init: RequestInit): Promise<Response> => {
      const { pathname, search } = new URL(url);
      called.add(nativeTarget(init.method!, decodeURIComponent(pathname), new Query([])).call);
      const headers: Record<string, string> = { ...(init.headers as object), host: HOST };
      const body = init.body as string | undefined;
      if (body !== undefined) headers["content-length"] = String(Buffer.byteLength(body));
      return gateway.raw(init.method!, pathname + search, headers, body);
    };
    const client = new RingstowClient({
      endpoint: `http://${HOST}`,
      accessKeyId: "alice",
      secretAccessKey: KEYS.alice.secretAccessKey,
      region: REGION,
      fetch: fetch as typeof globalThis.fetch,
    });
    return { client, called };
  }

  test("has a method for every call, and signs it so that the gateway takes it", async () => {
    const chain = { version: 0, entries: [], queue: [], fence: 3 };
    const view = { slice: 0, epoch: 1, members: [] };
    const lookup = { logicalId: id, hops: 0, path: [], owner: node, view, chain, best: [] };
    const finished = { version: 1, etag: "e", size: 0, lastModifiedMs: 0, replicas: [] };
    const gateway = new TestGateway(
      {},
      {
        lookup: () => Promise.resolve({ ...lookup, revision: "r" }),
        beginWrite: () => Promise.resolve({ state: "granted", ...begun } as never),
        renewWrite: () => Promise.resolve({ leaseMs: 1000 }),
        finishWrite: () => Promise.resolve({ ...finished, unlocked: true }),
        unlock: () => Promise.resolve(),
      },
    );
    const { client, called } = clientOf(gateway);
    const name = { bucket: "photos", key: "dir/ä b+(1)" };
    await client.createBucket("photos");
    expect((await client.buckets()).map((bucket) => bucket.name)).toEqual(["photos"]);
    const put = await client.put(name, "hello", { "content-type": "text/plain" });
    const head = await client.head(name);
    expect([head.status, head.headers.get("content-length")]).toEqual([200, "5"]);
    expect(await (await client.get(name)).text()).toBe("hello");
    const unchanged = await client.get(name, { "if-none-match": `"${put.etag}"` });
    expect(unchanged.status).toBe(304);
    const list = await client.list("photos", { prefix: "dir/", limit: 1 });
    expect(list.objects.map(({ key }) => key)).toEqual([name.key]);
    expect((await client.lookup(name)).revision).toBe("r");
    const grant = await client.begin(name, { holder: "me" });
    expect((await client.renew(name, grant)).leaseMs).toBe(1000);
    expect((await client.finish(name, grant)).version).toBe(1);
    await client.unlock(name, grant);
    await client.delete(name, { "if-match": `"${put.etag}"` });
    await expect(client.head(name)).rejects.toMatchObject({ code: "NoSuchKey" });
    await client.deleteBucket("photos");
    expect([...called].toSorted()).toEqual(Object.keys(NATIVE_ROUTES).toSorted());
  });
});
