// Every method of ObjectService crosses real HTTP unchanged, by both carriers.
import { afterEach, describe, expect, test } from "vitest";
import { FetchCaller } from "../../../../gateway/upstream/fetch-caller.ts";
import { type HttpCaller } from "../../../../gateway/upstream/http-caller.ts";
import { NodeCaller } from "../../../../gateway/upstream/node-caller.ts";
import { type NearestUpstream } from "../../../../gateway/upstream/nearest-upstream.ts";
import { ERRORS, type ErrorCode, RingstowError } from "../../../../shared/errors.ts";
import { resumesMax } from "../../../../shared/limits.ts";
import { withoutBlocks } from "../../../../shared/object-protocol.ts";
import { type ObjectService } from "../../../../shared/object-service.ts";
import { type TestNode, bytesOf, here, startNodes, upstreamOf } from "./node-fixture.ts";
import {
  ObjectDouble,
  bucketRef,
  requestId,
  someBucket,
  someUpload,
  uploadId,
} from "./object-double.ts";

const MiB = 1024 * 1024;
const key = "ordner/ä \u0001\u007f💙.txt";
const inBucket = { bucket: bucketRef, key };
const described = { headers: { contentDisposition: "ünï" }, metadata: { a: "💙" } };

let nodes: TestNode[] = [];
let upstream: NearestUpstream | undefined;

async function setUp(double: ObjectDouble, caller: HttpCaller): Promise<ObjectService> {
  nodes = await startNodes([double]);
  upstream = upstreamOf([nodes[0]!.server.url], caller);
  return upstream.service(here);
}

afterEach(async () => {
  await upstream?.stop();
  await Promise.all(nodes.map(({ server }) => server.close()));
  nodes = [];
});

function putRequest(length: number | undefined) {
  return {
    ...inBucket,
    ...described,
    body: { length, encoding: "plain" as const, md5: "0".repeat(32) },
    precondition: { ifNoneMatch: ["*"] },
    requestId,
  };
}

async function* pieces(bytes: Buffer, size = 300_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i += 997) bytes[i] = i % 251;
  return bytes;
}

describe.each([
  ["undici", () => new NodeCaller()],
  ["fetch", () => new FetchCaller()],
])("ObjectService over HTTP by %s", (_name, makeCaller) => {
  test("json methods carry requests and replies unchanged", async () => {
    const double = new ObjectDouble();
    const service = await setUp(double, makeCaller());
    const entry = double.store(key, Buffer.from("x"));
    const name = "photos";
    const calls: [keyof ObjectService, object, unknown][] = [
      ["createBucket", { name, owner: "o", requestId }, someBucket],
      ["getBucket", { name }, someBucket],
      ["deleteBucket", { name, requestId }, undefined],
      ["listBuckets", { after: "a", limit: 3 }, { buckets: [someBucket], truncated: true }],
      ["delete", { ...inBucket, precondition: { ifMatch: ["e"] }, requestId }, { existed: true }],
      [
        "list",
        { bucket: bucketRef, prefix: "ä", delimiter: "/", after: key, afterPrefix: true, limit: 9 },
        {
          entries: [{ key, entry: { ...withoutBlocks(entry), headers: {}, metadata: {} } }],
          commonPrefixes: ["ü/"],
          truncated: false,
          last: { after: "ü/", afterPrefix: true },
        },
      ],
      [
        "copy",
        {
          ...inBucket,
          source: { ...inBucket, conditions: { ifMatch: ["e"], ifUnmodifiedSinceMs: 5 } },
          described,
          precondition: {},
          requestId,
        },
        {
          etag: "y",
          version: 2,
          lastModifiedMs: 3,
          checksum: { algorithm: "crc32", type: "full", value: "AAAAAA==" },
        },
      ],
      [
        "copyPart",
        {
          ...inBucket,
          uploadId,
          partNumber: 2,
          source: { ...inBucket, conditions: {} },
          range: { from: 1, to: 2 },
          requestId,
        },
        { etag: "z", version: 1, lastModifiedMs: 3 },
      ],
      ["createUpload", { ...inBucket, ...described, requestId }, someUpload],
      [
        "completeUpload",
        {
          ...inBucket,
          uploadId,
          parts: [{ partNumber: 1, etag: "e" }],
          precondition: {},
          requestId,
        },
        { etag: "x-2", version: 3, lastModifiedMs: 4 },
      ],
      ["abortUpload", { ...inBucket, uploadId, requestId }, undefined],
    ];
    for (const [method, request, reply] of calls) {
      const call = (service[method] as (r: object) => Promise<unknown>).bind(service);
      expect(await call(request), method).toEqual(reply);
      expect(double.calls.at(-1), method).toEqual({ method, request });
    }
    const parts = await service.listParts({ ...inBucket, uploadId, after: 0, limit: 5 });
    expect(parts.parts[0]?.partNumber).toBe(9);
    const uploads = await service.listUploads({
      bucket: bucketRef,
      prefix: "",
      delimiter: "",
      keyMarker: undefined,
      uploadIdMarker: undefined,
      limit: 7,
    });
    expect(uploads).toMatchObject({ nextKeyMarker: "k", nextUploadIdMarker: uploadId });
  });

  test.each([0, 1, 70_000, 20 * MiB])("put, putPart and get carry %i bytes", async (length) => {
    const double = new ObjectDouble();
    const service = await setUp(double, makeCaller());
    const bytes = pattern(length);
    const result = await service.put(putRequest(length), pieces(bytes));
    expect(double.calls[0]).toEqual({ method: "put", request: putRequest(length) });
    expect(double.objects.get(key)?.bytes.equals(bytes)).toBe(true);
    expect(result.version).toBe(1);
    const part = {
      ...inBucket,
      uploadId,
      partNumber: 2,
      body: { length: undefined, encoding: "aws-chunked" as const },
      requestId,
    };
    await service.putPart(part, pieces(bytes));
    expect(double.objects.get(`${key}#2`)?.bytes.equals(bytes)).toBe(true);
    const got = await service.get({ ...inBucket, conditions: {}, headOnly: false });
    if (got.type !== "object") throw new Error("no object");
    expect(got).toMatchObject({ from: 0, to: length, partial: false });
    expect((await bytesOf(got.body)).equals(bytes)).toBe(true);
  });

  test("lists of a thousand rows fit, however much their clients say of them", async () => {
    const long = {
      headers: { cacheControl: "é".repeat(6 * 1024) },
      metadata: { a: "é".repeat(2 * 1024) },
    };
    const double = new ObjectDouble();
    const entry = { ...double.store(key, Buffer.from("x")), ...long };
    const upload = { ...someUpload, ...long };
    const keys = Array.from({ length: 1000 }, (_, i) => "k".repeat(1000) + i);
    const last = { after: key, afterPrefix: false };
    const rest = { commonPrefixes: [], truncated: true, last };
    double.list = () =>
      Promise.resolve({ entries: keys.map((name) => ({ key: name, entry })), ...rest });
    const next = { nextKeyMarker: "k", nextUploadIdMarker: uploadId };
    double.listUploads = () =>
      Promise.resolve({ uploads: keys.map((name) => ({ key: name, upload })), ...rest, ...next });
    const service = await setUp(double, makeCaller());
    const page = { bucket: bucketRef, prefix: "", delimiter: "", limit: 1000 };
    const list = await service.list({ ...page, after: undefined, afterPrefix: false });
    expect(list.entries).toHaveLength(1000);
    const markers = { keyMarker: undefined, uploadIdMarker: undefined };
    expect((await service.listUploads({ ...page, ...markers })).uploads).toHaveLength(1000);
  });

  test("get carries heads, ranges and notModified", async () => {
    const double = new ObjectDouble();
    const service = await setUp(double, makeCaller());
    const entry = double.store(key, pattern(1000));
    const head = await service.get({ ...inBucket, conditions: {}, headOnly: true });
    expect(head).toMatchObject({ type: "object", entry, from: 0, to: 1000 });
    const range = { from: 10, to: 19 };
    const part = await service.get({ ...inBucket, conditions: {}, range, headOnly: false });
    expect(part).toMatchObject({ type: "object", from: 10, to: 20, partial: true });
    if (part.type === "object") expect((await bytesOf(part.body)).length).toBe(10);
    const conditions = { ifNoneMatch: [entry.etag] };
    const same = await service.get({ ...inBucket, conditions, headOnly: false });
    expect(same).toEqual({ type: "notModified", entry: withoutBlocks(entry) });
  });

  test("errors keep code, message and details", async () => {
    const double = new ObjectDouble();
    const service = await setUp(double, makeCaller());
    for (const code of Object.keys(ERRORS) as ErrorCode[]) {
      double.failure = new RingstowError(code, `Why ${code} ü`, { key });
      for (const call of [
        () => service.getBucket({ name: "b" }),
        () => service.get({ ...inBucket, conditions: {}, headOnly: false }),
        () => service.put(putRequest(2), pieces(Buffer.from("ab"))),
      ]) {
        const error = await call().catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(RingstowError);
        expect(error).toMatchObject({ code, message: `Why ${code} ü`, details: { key } });
      }
    }
    double.failure = new TypeError("secret of the inside");
    const error = await service.getBucket({ name: "b" }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "Internal" });
    expect(String(error)).not.toContain("secret");
  });

  test("an early failure of a large put reaches the caller", async () => {
    const double = new ObjectDouble();
    const service = await setUp(double, makeCaller());
    double.failure = new RingstowError("NoSuchBucket");
    const put = service.put(putRequest(20 * MiB), pieces(pattern(20 * MiB)));
    await expect(put).rejects.toMatchObject({ code: "NoSuchBucket" });
  });

  test("a throwing upload body fails the put here and IncompleteBody there", async () => {
    const double = new ObjectDouble();
    const service = await setUp(double, makeCaller());
    const gone = new RingstowError("IncompleteBody", "gone at 300000");
    async function* body() {
      yield Buffer.alloc(300_000);
      throw gone;
    }
    await expect(service.put(putRequest(600_000), body())).rejects.toBe(gone);
    await expect.poll(() => double.bodyErrors).toMatchObject([{ code: "IncompleteBody" }]);
    expect(double.objects.size).toBe(0);
  });

  test("a body that breaks on every node throws after its good bytes", async () => {
    const double = new ObjectDouble();
    const service = await setUp(double, makeCaller());
    double.store(key, pattern(1000));
    let opened = 0;
    let received = Promise.withResolvers<void>();
    double.bodyOf = (bytes) =>
      (async function* () {
        opened++;
        received = Promise.withResolvers<void>();
        yield bytes.subarray(0, 1);
        await received.promise;
        throw new Error("disk broke");
      })();
    const got = await service.get({ ...inBucket, conditions: {}, headOnly: false });
    if (got.type !== "object") throw new Error("no object");
    let bytes = 0;
    const reading = (async () => {
      for await (const chunk of got.body) {
        bytes += chunk.length;
        received.resolve();
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: "Unavailable" });
    expect(bytes).toBe(opened);
    expect(opened).toBe(resumesMax + 1);
  });
});
