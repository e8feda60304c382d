// createNodeApp called directly, without a server: what is refused and how, the tables, web streams as fallback.
import { type NodeService } from "../../../../shared/object-protocol.ts";
import { beforeEach, expect, test } from "vitest";
import { createNodeApp } from "../../../../node/http.ts";
import { type Route } from "../../../../node/route/types.ts";
import { callArgumentsBytesMax } from "../../../../shared/limits.ts";
import {
  argumentsHeader,
  authHeader,
  headBytesHeader,
  memberTableSchema,
} from "../../../../shared/object-protocol.ts";
import { ANY_NODE, RequestSigner } from "../../../../shared/peer-auth.ts";
import { clock, gatewaySecret, here } from "./node-fixture.ts";
import { ObjectDouble, bucketRef, requestId } from "./object-double.ts";

const id = "1".repeat(32);
const signer = new RequestSigner(gatewaySecret, "f".repeat(32), Date.now);
let double: ObjectDouble;
let app: ReturnType<typeof createNodeApp>;

beforeEach(() => {
  double = new ObjectDouble();
  const member = {
    id,
    url: "http://127.0.0.1:1",
    zone: "a",
    position: here.position,
    freeBytes: 9,
  };
  const route = { self: { id }, live: () => [member] } as unknown as Route;
  const status = () => Promise.resolve({ id, zone: "a" } as never);
  const digests = () => Promise.resolve(new Map([[7, "ab"]]));
  const rest = { gatewaySecret, clock, sliceBits: 8 };
  app = createNodeApp({
    object: double as unknown as NodeService,
    route,
    status,
    digests,
    ...rest,
  });
});

function read(method: string, args: string, audience = id): Promise<Response> {
  const signed = { method: "GET", path: `/object/${method}`, args };
  const headers = { [authHeader]: signer.sign(signed, audience, here), [argumentsHeader]: args };
  return Promise.resolve(app.request(signed.path, { headers }));
}

test("a request without a right signature is refused with 401 and reaches no service", async () => {
  const args = '{"name":"b"}';
  expect(
    (await app.request("/object/getBucket", { headers: { [argumentsHeader]: args } })).status,
  ).toBe(401);
  expect((await read("getBucket", args, "2".repeat(32))).status).toBe(401);
  expect((await app.request("/members")).status).toBe(401);
  expect((await app.request("/status")).status).toBe(401);
  expect((await app.request("/digests")).status).toBe(401);
  const auth = signer.sign({ method: "GET", path: "/object/getBucket", args }, id, here);
  const twice = { headers: { [authHeader]: auth, [argumentsHeader]: args } };
  expect((await app.request("/object/getBucket", twice)).status).toBe(200);
  expect((await app.request("/object/getBucket", twice)).status).toBe(401);
  expect(double.calls.length).toBe(1);
});

test("an upload with a wrong signature is refused before its body is read", async () => {
  let pulled = 0;
  const body = new ReadableStream({ pull: () => void pulled++ }, { highWaterMark: 0 });
  const headers = { [authHeader]: "1", [argumentsHeader]: "{}" };
  const init = { method: "POST", headers, body, duplex: "half" } as RequestInit;
  expect((await app.request("/object/put", init)).status).toBe(401);
  expect(pulled).toBe(0);
});

test("malformed arguments, methods and paths are refused by name", async () => {
  for (const args of ["", "{", "[]", '{"name":5}'])
    expect(await (await read("getBucket", args)).json()).toMatchObject({ code: "InvalidRequest" });
  expect((await read("steal", "{}")).status).toBe(404);
  expect((await read("toString", "{}")).status).toBe(404);
  expect((await read("deleteBucket", "{}")).status).toBe(404); // a write is no GET
  expect((await app.request("/elsewhere")).status).toBe(404);
  const body = " ".repeat(callArgumentsBytesMax + 1);
  const long = await app.request("/object/deleteBucket", { method: "POST", body });
  expect(await long.json()).toMatchObject({ code: "EntityTooLarge" });
  expect(double.calls).toEqual([]);
});

test("members, status, digests and health are told", async () => {
  const signed = (path: string) => {
    const auth = signer.sign({ method: "GET", path, args: "" }, ANY_NODE, {});
    return Promise.resolve(app.request(path, { headers: { [authHeader]: auth } }));
  };
  const table = memberTableSchema.parse(await (await signed("/members")).json());
  expect(table).toMatchObject({
    sliceBits: 8,
    members: [{ id, position: here.position, load: 0 }],
  });
  expect(await (await signed("/status")).json()).toMatchObject({ id });
  expect(await (await signed("/digests")).json()).toEqual({ 7: "ab" });
  expect(await (await app.request("/health")).json()).toEqual({ id, ready: true });
});

test("without a server's bindings, bodies go by web streams and cancel() stops the service's body", async () => {
  const args = JSON.stringify({
    ...{ bucket: bucketRef, key: "k", headers: {}, metadata: {} },
    ...{ body: { encoding: "plain" }, precondition: {}, requestId },
  });
  const auth = signer.sign({ method: "POST", path: "/object/put", args }, id, here);
  const bytes = Buffer.alloc(1_000_000, 3);
  const put = await app.request("/object/put", {
    method: "POST",
    headers: { [authHeader]: auth, [argumentsHeader]: args },
    body: bytes,
  });
  expect(put.status).toBe(200);
  expect(double.objects.get("k")?.bytes.equals(bytes)).toBe(true);
  const get = JSON.stringify({ bucket: bucketRef, key: "k", conditions: {}, headOnly: false });
  const whole = Buffer.from(await (await read("get", get)).arrayBuffer());
  expect(whole.length).toBeGreaterThan(bytes.length);
  const response = await read("get", get);
  const head = Number(response.headers.get(headBytesHeader));
  expect(whole.subarray(head).equals(bytes)).toBe(true);
  await response.body!.cancel();
  expect(double.stopped).toBe(1);
});
