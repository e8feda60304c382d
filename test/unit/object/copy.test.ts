import { crc32 } from "node:zlib";
import { describe, expect, it } from "vitest";
import { RingstowError } from "../../../shared/errors.ts";
import { type UploadId } from "../../../shared/ids.ts";
import {
  inlineBytesMax,
  linkedBlocksMax,
  objectBytesMax,
  partBytesMin,
} from "../../../shared/limits.ts";
import { type CopyPartRequest, type CopyRequest } from "../../../shared/object-service.ts";
import { type Entry, type UploadChecksum } from "../../../shared/records.ts";
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

type Made = ReturnType<typeof makeService>;
const LARGE = bytesOf(inlineBytesMax * 3 + 5);
const from = (key: string, conditions = {}) => ({ bucket: BUCKET, key, conditions });
const copyRequest = (
  source: string,
  key: string,
  more: Partial<CopyRequest> = {},
): CopyRequest => ({
  bucket: BUCKET,
  key,
  source: from(source),
  precondition: {},
  requestId: requestId(),
  ...more,
});

/** CRC-32 as S3 writes it. */
const crc = (bytes: Uint8Array): string => {
  const value = Buffer.alloc(4);
  value.writeUInt32BE(crc32(bytes));
  return value.toString("base64");
};

async function stored(bytes: Uint8Array, more = {}): Promise<Made> {
  const made = makeService();
  await made.service.put(
    putRequest("a", plan(bytes.length, more), {
      headers: { contentType: "text/plain" },
      metadata: { colour: "red" },
    }),
    stream(bytes),
  );
  return made;
}

async function entryOf({ service }: Made, key: string): Promise<Entry> {
  const result = await service.get(getRequest(key, { headOnly: true }));
  return result.entry;
}

const load = async ({ service }: Made, key: string): Promise<Uint8Array> =>
  readObject(await service.get(getRequest(key)));

/** A finished multipart object "a" of these parts. */
async function multipart(made: Made, parts: readonly Uint8Array[], checksum?: UploadChecksum) {
  const { service } = made;
  const { id: uploadId } = await service.createUpload({ ...putRequest("a", plan(0)), checksum });
  for (const [i, bytes] of parts.entries()) {
    await service.putPart(
      {
        bucket: BUCKET,
        key: "a",
        uploadId,
        partNumber: i + 1,
        body: plan(),
        requestId: requestId(),
      },
      stream(bytes, 1024 * 1024),
    );
  }
  return service.completeUpload({
    bucket: BUCKET,
    key: "a",
    uploadId,
    parts: parts.map((bytes, i) => ({ partNumber: i + 1, etag: md5(bytes) })),
    precondition: {},
    requestId: requestId(),
  });
}

describe("copy", () => {
  it("copies a small body beside the new register, with its description and checksum", async () => {
    const bytes = bytesOf(100);
    const made = await stored(bytes, { checksum: { algorithm: "crc32", value: crc(bytes) } });
    const result = await made.service.copy(copyRequest("a", "b"));
    expect(result).toMatchObject({ etag: md5(bytes), version: 1 });
    expect(await load(made, "b")).toEqual(bytes);
    const entry = await entryOf(made, "b");
    expect(entry).toMatchObject({
      headers: { contentType: "text/plain" },
      metadata: { colour: "red" },
      body: { kind: "inline" },
    });
    expect(entry.checksum).toEqual((await entryOf(made, "a")).checksum);
    expect(result.checksum).toEqual(entry.checksum);
    expect(made.data.uploads).toBe(0);
  });

  it("links blocks instead of reading them, and keeps ETag and checksum", async () => {
    const made = await stored(LARGE);
    const { data, service } = made;
    const uploads = data.uploads;
    const result = await service.copy(
      copyRequest("a", "b", { described: { headers: {}, metadata: { new: "1" } } }),
    );
    expect(result.etag).toBe(md5(LARGE));
    expect(data.opened).toEqual([]);
    expect(data.linked).toHaveLength(1);
    expect(data.uploads).toBe(uploads + 1);
    expect(data.owners.at(-1)).toEqual(objectAddress(BUCKET, "b", SLICE_BITS));
    expect(await entryOf(made, "b")).toMatchObject({ metadata: { new: "1" }, size: LARGE.length });
    await service.delete({ bucket: BUCKET, key: "a", precondition: {}, requestId: requestId() });
    expect(await load(made, "b")).toEqual(LARGE);
  });

  it("copies an object onto itself with another description", async () => {
    const made = await stored(LARGE);
    await made.service.copy(
      copyRequest("a", "a", { described: { headers: {}, metadata: { new: "1" } } }),
    );
    const entry = await entryOf(made, "a");
    expect(entry).toMatchObject({ version: 2, metadata: { new: "1" }, etag: md5(LARGE) });
    expect(await load(made, "a")).toEqual(LARGE);
  });

  it("flattens the parts of a multipart object, a small last one too", async () => {
    const made = makeService();
    const parts = [bytesOf(partBytesMin), bytesOf(partBytesMin + 1, 3), bytesOf(100)];
    const { etag } = await multipart(made, parts);
    expect(etag).toMatch(/-3$/u);
    const result = await made.service.copy(copyRequest("a", "b"));
    expect(result.etag).toBe(etag);
    expect(made.data.linked).toHaveLength(2);
    expect(made.data.opened).toEqual([]);
    const entry = await entryOf(made, "b");
    expect(entry.body.kind === "blocks" && entry.body.blocks.map(({ size }) => size)).toEqual(
      parts.map(({ length }) => length),
    );
    expect(Buffer.compare(await load(made, "b"), concat(parts))).toBe(0);
  });

  it("reads and writes the bytes when a block cannot be linked, and gives up what was linked", async () => {
    const made = makeService();
    const parts = [bytesOf(partBytesMin), bytesOf(partBytesMin + 1, 3)];
    await multipart(made, parts);
    const { data, service } = made;
    let links = 0;
    data.onLink = () => {
      if (++links === 2) throw new RingstowError("Unavailable", "no quorum");
    };
    const result = await service.copy(copyRequest("a", "b"));
    const whole = concat(parts);
    expect(result.etag).toBe(md5(whole));
    expect(Buffer.compare(await load(made, "b"), whole)).toBe(0);
    await service.settled();
    expect(data.linked).toHaveLength(1);
    expect(data.discarded).toHaveLength(1);
    expect(made.logged).toContain("Blocks are copied because they could not be linked");
  });

  it("reads the bytes of a body of too many blocks", async () => {
    const made = await stored(LARGE);
    const at = objectAddress(BUCKET, "a", SLICE_BITS);
    const entry = await entryOf(made, "a");
    const block = entry.body.kind === "blocks" ? entry.body.blocks[0]! : undefined;
    const count = linkedBlocksMax + 1;
    await made.index.execute(
      at,
      {
        type: "commit",
        precondition: {},
        entry: {
          ...entry,
          etag: "x-1",
          size: count * LARGE.length,
          body: { kind: "blocks", blocks: Array.from({ length: count }, () => block!) },
        },
      },
      { requestId: requestId() },
    );
    const result = await made.service.copy(copyRequest("a", "b"));
    expect(made.data.linked).toEqual([]);
    const whole = concat(Array.from({ length: count }, () => LARGE));
    expect(result.etag).toBe(md5(whole));
    expect(Buffer.compare(await load(made, "b"), whole)).toBe(0);
  });

  it("throws NoSuchKey, PreconditionFailed for the source's conditions, InvalidRequest above 5 GiB", async () => {
    const made = await stored(LARGE);
    const { service, index } = made;
    const failure = (source: CopyRequest["source"]) =>
      expect(service.copy(copyRequest("a", "b", { source }))).rejects;
    await failure(from("none")).toMatchObject({ code: "NoSuchKey" });
    for (const conditions of [
      { ifMatch: ["other"] },
      { ifNoneMatch: [md5(LARGE)] },
      { ifModifiedSinceMs: made.clock.nowMs + 10_000 },
      { ifUnmodifiedSinceMs: 0 },
    ]) {
      await failure(from("a", conditions)).toMatchObject({ code: "PreconditionFailed" });
    }
    const entry = await entryOf(made, "a");
    await index.execute(
      objectAddress(BUCKET, "a", SLICE_BITS),
      { type: "commit", precondition: {}, entry: { ...entry, size: objectBytesMax + 1 } },
      { requestId: requestId() },
    );
    await failure(from("a")).toMatchObject({ code: "InvalidRequest" });
    expect(made.data.linked).toEqual([]);
  });

  it("gives up linked blocks when the commit is refused, and keeps them when its outcome is unknown", async () => {
    const made = await stored(LARGE);
    const { service, data, index } = made;
    const refused = copyRequest("a", "a", { precondition: { ifNoneMatch: ["*"] } });
    await expect(service.copy(refused)).rejects.toMatchObject({ code: "PreconditionFailed" });
    await service.settled();
    expect(data.discarded).toHaveLength(1);
    index.after = () => {
      throw new RingstowError("Unavailable");
    };
    await expect(service.copy(copyRequest("a", "b"))).rejects.toMatchObject({
      code: "Unavailable",
    });
    index.after = () => {};
    await service.settled();
    expect(data.discarded).toHaveLength(1);
    expect(await load(made, "b")).toEqual(LARGE);
  });

  it("answers a retry under one request id with the first's outcome, and tells late copies", async () => {
    const made = await stored(LARGE);
    const { service, data } = made;
    data.late = async () => [{ node: NODES[2]!, version: 1 }];
    const request = copyRequest("a", "b");
    const first = await service.copy(request);
    await service.settled();
    const { body } = await entryOf(made, "b");
    expect(body.kind === "blocks" && body.blocks[0]!.replicas).toHaveLength(3);
    expect(await service.copy(request)).toEqual(first);
  });
});

describe("copyPart", () => {
  async function upload(made: Made, checksum?: UploadChecksum) {
    const { id } = await made.service.createUpload({ ...putRequest("t", plan(0)), checksum });
    const copyPart = (partNumber: number, more: Partial<CopyPartRequest> = {}) =>
      made.service.copyPart({
        bucket: BUCKET,
        key: "t",
        uploadId: id,
        partNumber,
        source: from("a"),
        requestId: requestId(),
        ...more,
      });
    return { id, copyPart };
  }
  const complete = (made: Made, uploadId: UploadId, etags: readonly string[]) =>
    made.service.completeUpload({
      bucket: BUCKET,
      key: "t",
      uploadId,
      parts: etags.map((etag, i) => ({ partNumber: i + 1, etag })),
      precondition: {},
      requestId: requestId(),
    });

  it("links a whole object, streams a range, and the finished object is both", async () => {
    const whole = bytesOf(partBytesMin + 7);
    const made = await stored(whole);
    const { id, copyPart } = await upload(made);
    const first = await copyPart(1);
    expect(first.etag).toBe(md5(whole));
    expect(made.data.linked).toHaveLength(1);
    expect(made.data.opened).toEqual([]);
    const second = await copyPart(2, { range: { from: 10, to: 20_010 } });
    expect(second.etag).toBe(md5(whole.subarray(10, 20_011)));
    expect(made.data.linked).toHaveLength(1);
    await complete(made, id, [first.etag, second.etag]);
    const expected = concat([whole, whole.subarray(10, 20_011)]);
    expect(Buffer.compare(await load(made, "t"), expected)).toBe(0);
  });

  it("reads the bytes when the source has no plain MD5, or not the checksum that the upload wants", async () => {
    const made = makeService();
    const parts = [bytesOf(partBytesMin), bytesOf(100)];
    await multipart(made, parts);
    const plainUpload = await upload(made);
    const part = await plainUpload.copyPart(1);
    expect(part.etag).toBe(md5(concat(parts)));
    expect(made.data.linked).toEqual([]);
    await made.service.put(putRequest("a", plan(LARGE.length)), stream(LARGE));
    const checked = await upload(made, { algorithm: "crc32", type: "full" });
    const withChecksum = await checked.copyPart(1);
    expect(made.data.linked).toEqual([]);
    expect(withChecksum.checksum).toEqual({
      algorithm: "crc32",
      type: "full",
      value: crc(LARGE),
    });
  });

  it("links when the source's checksum is of the upload's algorithm", async () => {
    const made = await stored(LARGE, { checksum: { algorithm: "crc32", value: crc(LARGE) } });
    const { copyPart } = await upload(made, { algorithm: "crc32", type: "full" });
    const { checksum } = await copyPart(1, { range: { from: 0, to: LARGE.length - 1 } });
    expect(checksum?.value).toBe(crc(LARGE));
    expect(made.data.linked).toHaveLength(1);
  });

  it("throws InvalidRange beyond the source, NoSuchUpload before anything is read", async () => {
    const made = await stored(LARGE);
    const { copyPart } = await upload(made);
    for (const range of [
      { from: 0, to: LARGE.length },
      { from: LARGE.length, to: LARGE.length + 5 },
      { from: 9, to: 8 },
    ]) {
      await expect(copyPart(1, { range })).rejects.toMatchObject({ code: "InvalidRange" });
    }
    await expect(copyPart(1, { uploadId: "f".repeat(32) as UploadId })).rejects.toMatchObject({
      code: "NoSuchUpload",
    });
    await expect(copyPart(1, { source: from("none") })).rejects.toMatchObject({
      code: "NoSuchKey",
    });
    expect(made.data.linked).toEqual([]);
    expect(made.data.opened).toEqual([]);
  });
});
