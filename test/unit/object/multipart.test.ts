import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { RingstowError } from "../../../shared/errors.ts";
import { type UploadId, parseUploadId } from "../../../shared/ids.ts";
import {
  garbageBatchMax,
  garbageDelayMs,
  inlineBytesMax,
  partBytesMin,
} from "../../../shared/limits.ts";
import { type Precondition } from "../../../shared/records.ts";
import { objectAddress } from "../../../node/object/addresses.ts";
import { NODES, concat } from "./fake-data.ts";
import {
  BUCKET,
  SLICE_BITS,
  bytesOf,
  getRequest,
  makeService,
  md5,
  plan,
  putRequest,
  readObject,
  requestId,
  stream,
} from "./fixture.ts";

const BIG = bytesOf(partBytesMin);
const BIG2 = bytesOf(partBytesMin + 1, 3);
const SMALL = bytesOf(100);
/** Just too large to lie beside its register. */
const NO_INLINE = bytesOf(inlineBytesMax + 1);
const AT = objectAddress(BUCKET, "k", SLICE_BITS);

async function started() {
  const parts = makeService();
  const { service } = parts;
  const { id: uploadId } = await service.createUpload({
    ...putRequest("k", plan(0)),
    headers: { contentType: "text/plain" },
    metadata: { colour: "red" },
  });
  const sendPart = (partNumber: number, bytes: Uint8Array, id: UploadId = uploadId) =>
    service.putPart(
      {
        bucket: BUCKET,
        key: "k",
        uploadId: id,
        partNumber,
        body: plan(bytes.length),
        requestId: requestId(),
      },
      stream(bytes, 1024 * 1024),
    );
  const complete = (
    listed: readonly (readonly [number, Uint8Array])[],
    precondition: Precondition = {},
  ) =>
    service.completeUpload({
      bucket: BUCKET,
      key: "k",
      uploadId,
      parts: listed.map(([partNumber, bytes]) => ({ partNumber, etag: `"${md5(bytes)}"` })),
      precondition,
      requestId: requestId(),
    });
  const abort = () =>
    service.abortUpload({ bucket: BUCKET, key: "k", uploadId, requestId: requestId() });
  const collect = () => service.freeGarbage(AT);
  return { ...parts, uploadId, sendPart, complete, abort, collect };
}

describe("completeUpload", () => {
  it("makes the parts one object", async () => {
    const { service, sendPart, complete, index } = await started();
    await sendPart(3, SMALL);
    await sendPart(1, BIG);
    await sendPart(2, BIG2);
    const result = await complete([
      [1, BIG],
      [2, BIG2],
      [3, SMALL],
    ]);
    const digests = [BIG, BIG2, SMALL].map((part) => createHash("md5").update(part).digest());
    expect(result.etag).toBe(`${md5(concat(digests))}-3`);
    const object = await service.get(getRequest("k"));
    expect(object.entry).toMatchObject({
      size: BIG.length + BIG2.length + SMALL.length,
      headers: { contentType: "text/plain" },
      metadata: { colour: "red" },
    });
    expect(object).toMatchObject({ partsCount: 3 });
    const whole = concat([BIG, BIG2, SMALL]);
    expect(md5(await readObject(object))).toBe(md5(whole));

    const from = BIG.length - 2;
    const to = BIG.length + BIG2.length + 1;
    index.reads = 0;
    const range = await service.get(getRequest("k", { range: { from, to } }));
    expect(md5(await readObject(range))).toBe(md5(whole.subarray(from, to + 1)));
    expect(index.reads).toBe(4);
    const part = await service.get(getRequest("k", { partNumber: 2 }));
    expect(md5(await readObject(part))).toBe(md5(BIG2));
  });

  it("takes the sending that the ETag means, and frees the others", async () => {
    const { service, sendPart, complete, index, data } = await started();
    await sendPart(1, BIG);
    await sendPart(1, BIG2);
    await sendPart(2, BIG);
    await complete([[1, BIG2]]);
    await service.settled();
    expect(md5(await readObject(await service.get(getRequest("k"))))).toBe(md5(BIG2));
    expect(index.keys("p")).toHaveLength(1);
    expect(data.blocks.size).toBe(1);
  });

  it("does not change when a part is sent again between its check and its commit", async () => {
    const { service, sendPart, complete, index } = await started();
    await sendPart(1, BIG);
    index.before = async (operation) => {
      if (operation.type !== "commit") return;
      index.before = () => {};
      await sendPart(1, BIG2);
    };
    await complete([[1, BIG]]);
    await service.settled();
    expect(md5(await readObject(await service.get(getRequest("k"))))).toBe(md5(BIG));
    expect(index.keys("p")).toHaveLength(1);
  });

  it("leaves an object that was replaced at once to its readers", async () => {
    const { service, sendPart, complete, index } = await started();
    await sendPart(1, SMALL);
    index.after = async (operation) => {
      if (operation.type !== "commit") return;
      index.after = () => {};
      await service.put(putRequest("k", plan(1)), stream(bytesOf(1)));
    };
    await complete([[1, SMALL]]);
    await service.settled();
    expect(index.keys("p")).toHaveLength(1);
  });

  it("is not read when a part is not the one committed", async () => {
    const { service, sendPart, complete, index } = await started();
    await sendPart(1, SMALL);
    await complete([[1, SMALL]]);
    await service.settled();
    for (const [place, row] of index.registers) {
      if (row.value?.kind !== "part") continue;
      const part = { ...row.value.part, etag: "0".repeat(32) };
      index.registers.set(place, { ...row, value: { kind: "part", part } });
    }
    const object = await service.get(getRequest("k"));
    await expect(readObject(object)).rejects.toMatchObject({ code: "Corrupt" });
  });

  it("keeps what the winner of two Completes named", async () => {
    const { service, sendPart, complete, index } = await started();
    await sendPart(1, BIG);
    await sendPart(2, SMALL);
    let won: unknown;
    index.before = async (operation) => {
      if (operation.type !== "commit") return;
      index.before = () => {};
      won = await complete([
        [1, BIG],
        [2, SMALL],
      ]);
    };
    expect(await complete([[1, BIG]])).toEqual(won);
    await service.settled();
    expect(md5(await readObject(await service.get(getRequest("k"))))).toBe(
      md5(concat([BIG, SMALL])),
    );
  });

  it("answers the same when it is sent twice, until the object is replaced", async () => {
    const { service, sendPart, complete } = await started();
    await sendPart(1, SMALL);
    const first = await complete([[1, SMALL]]);
    expect(await complete([[1, SMALL]])).toEqual(first);
    await service.put(putRequest("k", plan(1)), stream(bytesOf(1)));
    await expect(complete([[1, SMALL]])).rejects.toMatchObject({ code: "NoSuchUpload" });
  });

  it("answers the retry of a request whose object was replaced meanwhile", async () => {
    const { service, sendPart, uploadId } = await started();
    await sendPart(1, SMALL);
    const request = {
      ...putRequest("k", plan(0)),
      uploadId,
      parts: [{ partNumber: 1, etag: md5(SMALL) }],
    };
    const first = await service.completeUpload(request);
    await service.settled();
    await service.put(putRequest("k", plan(1)), stream(bytesOf(1)));
    expect(await service.completeUpload(request)).toEqual(first);
    const another = { ...request, requestId: requestId() };
    await expect(service.completeUpload(another)).rejects.toMatchObject({ code: "NoSuchUpload" });
    expect((await service.get(getRequest("k"))).entry.size).toBe(1);
  });

  it.each<[string, readonly (readonly [number, Uint8Array])[], string]>([
    ["an unknown part", [[7, SMALL]], "InvalidPart"],
    ["another ETag", [[1, SMALL]], "InvalidPart"],
    [
      "falling numbers",
      [
        [2, SMALL],
        [1, BIG],
      ],
      "InvalidPartOrder",
    ],
    [
      "a number twice",
      [
        [1, BIG],
        [1, BIG],
      ],
      "InvalidPartOrder",
    ],
    [
      "a small part that is not the last",
      [
        [2, SMALL],
        [3, SMALL],
      ],
      "EntityTooSmall",
    ],
    ["no part", [], "InvalidRequest"],
  ])("refuses %s and leaves the upload open", async (_what, listed, code) => {
    const { sendPart, complete } = await started();
    await sendPart(1, BIG);
    await sendPart(2, SMALL);
    await sendPart(3, SMALL);
    await expect(complete(listed)).rejects.toMatchObject({ code });
    await complete([
      [1, BIG],
      [2, SMALL],
    ]);
  });

  it("obeys a precondition", async () => {
    const { service, sendPart, complete } = await started();
    await sendPart(1, SMALL);
    await service.put(putRequest("k", plan(1)), stream(bytesOf(1)));
    await expect(complete([[1, SMALL]], { ifNoneMatch: ["*"] })).rejects.toMatchObject({
      code: "PreconditionFailed",
    });
  });
});

describe("putPart", () => {
  it("refuses an unknown upload before it reads the body", async () => {
    const { sendPart, data } = await started();
    await expect(sendPart(1, BIG, parseUploadId("9".repeat(32)))).rejects.toMatchObject({
      code: "NoSuchUpload",
    });
    expect(data.uploads).toBe(0);
  });

  it.each([0, 10_001, 1.5])("refuses part number %d", async (partNumber) => {
    const { sendPart } = await started();
    await expect(sendPart(partNumber, SMALL)).rejects.toMatchObject({ code: "InvalidRequest" });
  });

  it.each([
    ["large", BIG],
    ["small", SMALL],
  ])("leaves nothing of a %s part that lands after Abort", async (_what, bytes) => {
    const { service, sendPart, abort, index, data } = await started();
    index.before = async (operation) => {
      if (operation.type !== "putPart") return;
      index.before = () => {};
      await abort();
      await service.settled();
    };
    await expect(sendPart(1, bytes)).rejects.toMatchObject({ code: "NoSuchUpload" });
    await service.settled();
    expect(index.keys("p")).toHaveLength(0);
    expect(data.blocks.size).toBe(0);
  });

  it("gives up a long part whose upload ended while it was sent", async () => {
    const { service, sendPart, abort, index, data } = await started();
    data.onFinish = async () => {
      await abort();
    };
    await expect(sendPart(1, BIG)).rejects.toMatchObject({ code: "NoSuchUpload" });
    await service.settled();
    expect(index.executed.map(({ operation }) => operation.type)).not.toContain("putPart");
    expect(data.blocks.size).toBe(0);
  });

  it("stays when Complete took it along just after it landed", async () => {
    const { service, sendPart, complete, index } = await started();
    index.after = async (operation) => {
      if (operation.type !== "putPart") return;
      index.after = () => {};
      await complete([[1, SMALL]]);
    };
    await sendPart(1, SMALL);
    await service.settled();
    expect(md5(await readObject(await service.get(getRequest("k"))))).toBe(md5(SMALL));
  });
});

describe("abortUpload", () => {
  it("frees parts and blocks, and is an error twice", async () => {
    const { service, sendPart, abort, index, data } = await started();
    await sendPart(1, BIG);
    await sendPart(2, SMALL);
    await abort();
    await service.settled();
    expect(index.keys("p")).toHaveLength(0);
    expect(data.blocks.size).toBe(0);
    await expect(abort()).rejects.toMatchObject({ code: "NoSuchUpload" });
  });
});

describe("listParts", () => {
  it("lists the newest sendings by number, in pages", async () => {
    const { service, sendPart, uploadId, clock } = await started();
    for (const [number, bytes] of [
      [2, SMALL],
      [1, SMALL],
      [10, SMALL],
      [2, bytesOf(7)],
    ] as const) {
      clock.nowMs += 1;
      await sendPart(number, bytes);
    }
    const page = async (after: number, limit: number) => {
      const { parts, truncated } = await service.listParts({
        bucket: BUCKET,
        key: "k",
        uploadId,
        after,
        limit,
      });
      return [parts.map(({ partNumber, size }) => `${partNumber}:${size}`).join(" "), truncated];
    };
    expect(await page(0, 10)).toEqual(["1:100 2:7 10:100", false]);
    expect(await page(0, 2)).toEqual(["1:100 2:7", true]);
    expect(await page(2, 1)).toEqual(["10:100", false]);
    expect(await page(10, 5)).toEqual(["", false]);
  });
});

describe("freeGarbage", () => {
  it("frees a replaced object's blocks only after the delay", async () => {
    const { service, data, clock, collect, index } = await started();
    await service.put(putRequest("k", plan(BIG.length)), stream(BIG));
    await service.put(putRequest("k", plan(1)), stream(bytesOf(1)));
    clock.nowMs += garbageDelayMs - 1;
    await collect();
    expect(data.blocks.size).toBe(1);
    clock.nowMs += 1;
    await collect();
    expect(data.blocks.size).toBe(0);
    expect((await index.read(AT, { body: false })).value).toMatchObject({ chain: { garbage: [] } });
  });

  it("frees the parts of a replaced multipart object only after the delay", async () => {
    const { service, sendPart, complete, data, clock, collect, index } = await started();
    await sendPart(1, BIG);
    await sendPart(2, SMALL);
    await complete([
      [1, BIG],
      [2, SMALL],
    ]);
    await service.settled();
    clock.nowMs += garbageDelayMs / 2;
    await service.delete(putRequest("k", plan(0)));
    // The item of the finished upload would be due by now; the deletion made it young again.
    clock.nowMs += garbageDelayMs / 2;
    await collect();
    expect(data.blocks.size).toBe(1);
    expect(index.keys("p")).toHaveLength(2);
    clock.nowMs += garbageDelayMs / 2;
    await collect();
    expect(data.blocks.size).toBe(0);
    expect(index.keys("p")).toHaveLength(0);
    expect(index.keys("o")).toHaveLength(0);
  });

  it("does not forget an upload whose object was replaced while it was swept", async () => {
    const { service, sendPart, complete, data, clock, collect, index } = await started();
    await sendPart(1, BIG);
    await complete([[1, BIG]]);
    clock.nowMs += garbageDelayMs;
    const scan = index.scan.bind(index);
    index.scan = async (requests) => {
      index.scan = scan;
      await service.delete(putRequest("k", plan(0)));
      return scan(requests);
    };
    await collect();
    expect(data.blocks.size).toBe(1);
    clock.nowMs += garbageDelayMs;
    await collect();
    expect(data.blocks.size).toBe(0);
    expect(index.keys("o")).toHaveLength(0);
  });

  it("never touches parts that the object names", async () => {
    const { service, sendPart, complete, clock, collect } = await started();
    await sendPart(1, BIG);
    await complete([[1, BIG]]);
    clock.nowMs += 2 * garbageDelayMs;
    await collect();
    expect(md5(await readObject(await service.get(getRequest("k"))))).toBe(md5(BIG));
  });

  it("finishes what a node that died left: parts of an aborted upload", async () => {
    const { service, sendPart, abort, data, index, clock, collect } = await started();
    await sendPart(1, BIG);
    await service.stop(); // no background work happens any more
    await abort();
    expect(data.blocks.size).toBe(1);
    clock.nowMs += garbageDelayMs;
    await collect();
    expect(data.blocks.size).toBe(0);
    expect(index.keys("p")).toHaveLength(0);
  });

  it("keeps registers and garbage until every copy is gone", async () => {
    const { service, sendPart, complete, data, index, clock, collect } = await started();
    await sendPart(1, BIG);
    await complete([[1, BIG]]);
    await service.put(putRequest("k", plan(BIG.length)), stream(BIG));
    await service.delete(putRequest("k", plan(0)));
    clock.nowMs += garbageDelayMs;
    data.deletable = NODES.slice(0, 1);
    await collect();
    expect(index.keys("p")).toHaveLength(1);
    expect((await index.read(AT, { body: false })).value).toMatchObject({
      chain: { garbage: [{ kind: "upload" }, { block: { replicas: [{ node: NODES[1] }] } }] },
    });
    data.deletable = NODES;
    await collect();
    expect(index.keys("p")).toHaveLength(0);
    expect(index.keys("o")).toHaveLength(0);
  });

  it("frees all that is due, more than one step takes; what cannot go does not keep the rest", async () => {
    const { service, data, clock, collect, index } = await started();
    for (let i = 0; i <= 2 * garbageBatchMax + 1; i++)
      await service.put(putRequest("k", plan(NO_INLINE.length)), stream(NO_INLINE));
    clock.nowMs += garbageDelayMs;
    const stays = [...data.blocks.keys()].slice(0, garbageBatchMax);
    const remove = data.delete.bind(data);
    data.delete = (blocks) => remove(blocks.filter(({ id }) => !stays.includes(id)));
    await collect();
    expect(data.blocks.size).toBe(garbageBatchMax + 1);
    data.delete = remove;
    await collect();
    expect(data.blocks.size).toBe(1);
    expect((await index.read(AT, { body: false })).value).toMatchObject({ chain: { garbage: [] } });
  });

  it("keeps and logs what failed to be deleted", async () => {
    const { service, data, clock, collect, index, logged } = await started();
    await service.put(putRequest("k", plan(BIG.length)), stream(BIG));
    await service.delete(putRequest("k", plan(0)));
    clock.nowMs += garbageDelayMs;
    data.delete = () => Promise.reject(new RingstowError("Unavailable"));
    await collect();
    expect(logged).toEqual(["Cannot free garbage yet"]);
    expect(index.keys("o")).toHaveLength(1);
  });
});
