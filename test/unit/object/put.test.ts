import { describe, expect, it } from "vitest";
import { RingstowError } from "../../../shared/errors.ts";
import { blockBytesMax, inlineBytesMax, objectBytesMax } from "../../../shared/limits.ts";
import { type BodyPlan, type ByteStream } from "../../../shared/object-service.ts";
import { objectAddress } from "../../../node/object/addresses.ts";
import { NODES } from "./fake-data.ts";
import {
  BUCKET,
  SLICE_BITS,
  bytesOf,
  gate,
  getRequest,
  makeService,
  md5,
  plan,
  putRequest,
  readObject,
  sha256,
  stream,
} from "./fixture.ts";

const LARGE = inlineBytesMax * 3 + 5;
const commits = (index: ReturnType<typeof makeService>["index"]) =>
  index.executed.filter(({ operation }) => operation.type === "commit");

function untouched(): ByteStream {
  return {
    [Symbol.asyncIterator]: () => {
      throw new Error("The body was read");
    },
  };
}

/** The same chunk again and again: long bodies in little memory. */
async function* repeated(chunk: Uint8Array, times: number): ByteStream {
  for (let i = 0; i < times; i++) yield chunk;
}

describe("put", () => {
  it.each([0, 1, inlineBytesMax])("stores %i bytes beside the register", async (size) => {
    const { service, data } = makeService();
    const bytes = bytesOf(size);
    const result = await service.put(putRequest("k", plan(size)), stream(bytes));
    expect(result).toMatchObject({ etag: md5(bytes), version: 1 });
    expect(data.uploads).toBe(0);
    expect(await readObject(await service.get(getRequest("k")))).toEqual(bytes);
  });

  it.each([inlineBytesMax + 1, LARGE])("stores %i bytes in blocks", async (size) => {
    const { service, data } = makeService();
    const bytes = bytesOf(size);
    const result = await service.put(putRequest("k", plan(size)), stream(bytes));
    expect(result.etag).toBe(md5(bytes));
    expect(data.uploads).toBe(1);
    expect(data.owners).toEqual([objectAddress(BUCKET, "k", SLICE_BITS)]);
    expect(await readObject(await service.get(getRequest("k")))).toEqual(bytes);
  });

  it("goes by the true size when no length was declared", async () => {
    const { service, data } = makeService();
    await service.put(putRequest("small", plan()), stream(bytesOf(100), 7));
    expect(data.uploads).toBe(0);
    await service.put(putRequest("large", plan()), stream(bytesOf(LARGE), 1000));
    expect(data.uploads).toBe(1);
    expect(await readObject(await service.get(getRequest("large")))).toEqual(bytesOf(LARGE));
  });

  it("decodes aws-chunked", async () => {
    const { service } = makeService();
    const encoded = new TextEncoder().encode(
      "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n",
    );
    const trailers = ["x-amz-checksum-crc32"];
    const body = plan(5, { encoding: "aws-chunked", checksum: { algorithm: "crc32" }, trailers });
    await service.put(putRequest("k", body), stream(encoded, 3));
    expect(await readObject(await service.get(getRequest("k")))).toEqual(
      new TextEncoder().encode("hello"),
    );
  });

  it("cuts long bodies into blocks, at most two in flight", async () => {
    const { service, data, index } = makeService();
    const first = gate();
    let second = 0;
    data.onFinish = (upload) => (upload < 3 ? first.opened : undefined);
    const chunk = bytesOf(1024 * 1024);
    const times = (2 * blockBytesMax) / chunk.length + 1;
    data.onWrite = (upload, bytes) => {
      // The second block is written while the first is being made durable; the third waits for it, though it has a
      // whole turn of the event loop to open too early.
      if (upload === 2) second += bytes;
      if (second === blockBytesMax) setImmediate(first.open);
    };
    const size = times * chunk.length;
    await service.put(putRequest("k", plan(size)), repeated(chunk, times));
    expect(data.inFlightMost).toBe(2);
    expect(data.uploads).toBe(3);
    const [commit] = commits(index);
    expect(commit?.operation).toMatchObject({
      entry: {
        size,
        body: {
          kind: "blocks",
          blocks: [{ size: blockBytesMax }, { size: blockBytesMax }, { size: chunk.length }],
        },
      },
    });
  });

  const bytes = bytesOf(LARGE);
  it.each<[string, BodyPlan, string]>([
    ["a body shorter than declared", plan(LARGE + 1), "IncompleteBody"],
    ["a body longer than declared", plan(LARGE - 1), "IncompleteBody"],
    ["a wrong MD5", plan(LARGE, { md5: "0".repeat(32) }), "ContentDigestMismatch"],
    ["a wrong SHA-256", plan(LARGE, { sha256: "0".repeat(64) }), "ContentSha256Mismatch"],
    ["a damaged encoding", plan(LARGE, { encoding: "aws-chunked" }), "MalformedBody"],
  ])("refuses %s and keeps nothing", async (_what, body, code) => {
    const { service, data, index } = makeService();
    await expect(service.put(putRequest("k", body), stream(bytes))).rejects.toMatchObject({ code });
    await service.settled();
    expect(commits(index)).toHaveLength(0);
    expect(data.blocks.size).toBe(0);
    expect(data.inFlight).toBe(0);
  });

  it("accepts right digests", async () => {
    const { service } = makeService();
    const body = plan(LARGE, { md5: md5(bytes), sha256: sha256(bytes) });
    await service.put(putRequest("k", body), stream(bytes));
  });

  it("refuses a declared length above the limit before it reads the body", async () => {
    const { service } = makeService();
    await expect(
      service.put(putRequest("k", plan(objectBytesMax + 1)), untouched()),
    ).rejects.toMatchObject({ code: "EntityTooLarge" });
  });

  it.each(["", "a\0b", "\ud800", "k".repeat(1025)])("refuses key %j", async (key) => {
    const { service } = makeService();
    await expect(service.put(putRequest(key, plan(0)), untouched())).rejects.toMatchObject({
      code: "InvalidRequest",
    });
  });

  it("leaves its precondition to the register, which knows the request ids of retries", async () => {
    const { service, index } = makeService();
    await service.put(putRequest("k", plan(1)), stream(bytesOf(1)));
    const none = putRequest("k", plan(1), { precondition: { ifNoneMatch: ["*"] } });
    await expect(service.put(none, stream(bytesOf(1)))).rejects.toMatchObject({
      code: "PreconditionFailed",
    });
    const missing = putRequest("x", plan(1), { precondition: { ifMatch: ["*"] } });
    await expect(service.put(missing, stream(bytesOf(1)))).rejects.toMatchObject({
      code: "NoSuchKey",
    });
    expect(commits(index)).toHaveLength(3);
  });

  it("discards its blocks when another writer wins the precondition", async () => {
    const { service, data, index } = makeService();
    const request = putRequest("k", plan(LARGE), { precondition: { ifNoneMatch: ["*"] } });
    index.before = async (operation) => {
      if (operation.type !== "commit" || commits(index).length > 0) return;
      index.before = () => {};
      await service.put(putRequest("k", plan(1)), stream(bytesOf(1)));
    };
    await expect(service.put(request, stream(bytes))).rejects.toMatchObject({
      code: "PreconditionFailed",
    });
    await service.settled();
    expect(data.discarded).toHaveLength(1);
  });

  it("keeps its blocks when the outcome of the commit is unknown", async () => {
    const { service, data, index } = makeService();
    index.after = () => {
      throw new RingstowError("Unavailable");
    };
    await expect(service.put(putRequest("k", plan(LARGE)), stream(bytes))).rejects.toMatchObject({
      code: "Unavailable",
    });
    await service.settled();
    expect(data.discarded).toHaveLength(0);
    expect(await readObject(await service.get(getRequest("k")))).toEqual(bytes);
  });

  it("discards and stays retryable when a block was disowned", async () => {
    const { service, data, index } = makeService();
    index.before = (operation) => {
      if (operation.type === "commit") throw new RingstowError("BlockDisowned");
    };
    await expect(service.put(putRequest("k", plan(LARGE)), stream(bytes))).rejects.toMatchObject({
      code: "BlockDisowned",
      retryable: true,
    });
    await service.settled();
    expect(data.discarded).toHaveLength(1);
  });

  it.each([1, 2, 3])("gives up all blocks when block %i breaks", async (broken) => {
    const { service, data, index } = makeService();
    data.onFinish = (upload) => {
      if (upload === broken) throw new RingstowError("Unavailable", "No copy can be written");
    };
    const chunk = bytesOf(1024 * 1024);
    const times = (3 * blockBytesMax) / chunk.length;
    await expect(
      service.put(putRequest("k", plan(times * chunk.length)), repeated(chunk, times)),
    ).rejects.toMatchObject({ code: "Unavailable" });
    await service.settled();
    expect(commits(index)).toHaveLength(0);
    expect(data.blocks.size).toBe(0);
  });

  it("stops reading the body soon after a block broke", async () => {
    const { service, data } = makeService();
    data.onFinish = () => {
      throw new RingstowError("Unavailable");
    };
    const chunk = bytesOf(1024 * 1024);
    const times = (2 * blockBytesMax) / chunk.length;
    let read = 0;
    async function* counted(): ByteStream {
      for await (const piece of repeated(chunk, times)) {
        read += piece.length;
        yield piece;
      }
    }
    await expect(
      service.put(putRequest("k", plan(times * chunk.length)), counted()),
    ).rejects.toMatchObject({ code: "Unavailable" });
    expect(read).toBeLessThan(blockBytesMax + 4 * chunk.length);
  });

  it("aborts the block that is open when the client breaks off", async () => {
    const { service, data, index } = makeService();
    async function* broken(): ByteStream {
      yield bytesOf(LARGE);
      throw new Error("Connection reset");
    }
    await expect(service.put(putRequest("k", plan(LARGE * 2)), broken())).rejects.toThrow(
      "Connection reset",
    );
    await service.settled();
    expect(data.aborted).toBe(1);
    expect(commits(index)).toHaveLength(0);
  });

  it("adds late copies without waiting for them", async () => {
    const { service, data, index } = makeService();
    const late =
      Promise.withResolvers<readonly { node: (typeof NODES)[0] & {}; version: number }[]>();
    data.late = () => late.promise;
    await service.put(putRequest("k", plan(LARGE)), stream(bytes));
    expect(index.executed.map(({ operation }) => operation.type)).toEqual(["commit"]);
    late.resolve([{ node: NODES[2]!, version: 1 }]);
    await late.promise;
    await service.settled();
    const result = await service.get(getRequest("k"));
    expect(result.entry.body).toMatchObject({
      blocks: [{ replicas: NODES.map((node) => ({ node, version: 1 })) }],
    });
  });

  it("answers a repeated request id once", async () => {
    const { service } = makeService();
    const request = putRequest("k", plan(3));
    const first = await service.put(request, stream(bytesOf(3)));
    expect(await service.put(request, stream(bytesOf(3)))).toEqual(first);
  });
});

describe("delete", () => {
  it("deletes, and succeeds when there is nothing", async () => {
    const { service } = makeService();
    await service.put(putRequest("k", plan(1)), stream(bytesOf(1)));
    const request = () => ({ ...putRequest("k", plan(0)) });
    expect(await service.delete(request())).toEqual({ existed: true });
    expect(await service.delete(request())).toEqual({ existed: false });
    await expect(service.get(getRequest("k"))).rejects.toMatchObject({ code: "NoSuchKey" });
  });

  it("obeys If-Match", async () => {
    const { service } = makeService();
    await service.put(putRequest("k", plan(1)), stream(bytesOf(1)));
    await expect(
      service.delete(putRequest("k", plan(0), { precondition: { ifMatch: ["x"] } })),
    ).rejects.toMatchObject({ code: "PreconditionFailed" });
  });
});
