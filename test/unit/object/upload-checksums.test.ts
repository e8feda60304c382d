// Checksums of multipart uploads: computed for parts, held to what requests say, combined at Complete.
import { describe, expect, it } from "vitest";
import { RingstowError } from "../../../shared/errors.ts";
import { partBytesMin } from "../../../shared/limits.ts";
import { type UploadChecksum } from "../../../shared/records.ts";
import { concat } from "./fake-data.ts";
import * as fixture from "./fixture.ts";

const { BUCKET, bytesOf, digest, makeService, md5, plan, putRequest, requestId, stream } = fixture;
const PARTS = [bytesOf(partBytesMin), bytesOf(100, 3)];

function raw(algorithm: UploadChecksum["algorithm"], bytes: Uint8Array): Uint8Array {
  const hasher = digest.start(algorithm);
  hasher.update(bytes);
  return hasher.digest();
}
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

async function uploaded(checksum: UploadChecksum) {
  const { service } = makeService();
  const { id: uploadId } = await service.createUpload({ ...putRequest("k", plan(0)), checksum });
  const part = { bucket: BUCKET, key: "k", uploadId };
  const send = (i: number, more = {}) =>
    service.putPart(
      { ...part, partNumber: i + 1, body: plan(PARTS[i]!.length, more), requestId: requestId() },
      stream(PARTS[i]!, 1024 * 1024),
    );
  const results = [await send(0), await send(1)];
  const parts = results.map(({ etag, checksum: own }, i) => ({
    partNumber: i + 1,
    etag,
    checksum: own?.value,
  }));
  const complete = (more = {}) =>
    service.completeUpload({ ...part, parts, precondition: {}, requestId: requestId(), ...more });
  return { service, send, parts, complete };
}

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "none",
    (error: unknown) => (error instanceof RingstowError ? error.code : String(error)),
  );

describe("checksums of uploads", () => {
  it.each([
    ["crc32", "full"],
    ["crc32c", "full"],
    ["crc64nvme", "full"],
    ["crc32", "composite"],
    ["crc32c", "composite"],
    ["sha1", "composite"],
    ["sha256", "composite"],
  ] as const)(
    "%s, %s: computed for parts, combined, stored and answered",
    async (algorithm, type) => {
      const { service, parts, complete } = await uploaded({ algorithm, type });
      expect(parts.map((part) => part.checksum)).toEqual(
        PARTS.map((bytes) => base64(raw(algorithm, bytes))),
      );
      const value =
        type === "full"
          ? base64(raw(algorithm, concat(PARTS)))
          : `${base64(raw(algorithm, concat(PARTS.map((bytes) => raw(algorithm, bytes)))))}-2`;
      const expected = { algorithm, type, value };
      const claimed = { checksum: { algorithm, value }, size: partBytesMin + 100 };
      expect(await complete(claimed)).toMatchObject({ checksum: expected });
      expect((await complete()).checksum).toEqual(expected);
      const object = await service.get(fixture.getRequest("k", { headOnly: true }));
      expect(object.entry.checksum).toEqual(expected);
    },
  );

  it("refuses what differs, and leaves the upload as it was", async () => {
    const { send, parts, complete } = await uploaded({ algorithm: "sha1", type: "composite" });
    const wrong = base64(new Uint8Array(20));
    const crc32 = { algorithm: "crc32", value: base64(raw("crc32", PARTS[0]!)) };
    expect(await codeOf(send(0, { checksum: crc32 }))).toBe("InvalidRequest");
    const sha1 = { algorithm: "sha1", value: wrong };
    expect(await codeOf(send(0, { checksum: sha1 }))).toBe("ChecksumMismatch");
    expect(await codeOf(complete({ size: 1 }))).toBe("InvalidRequest");
    expect(await codeOf(complete({ checksum: sha1 }))).toBe("ChecksumMismatch");
    expect(await codeOf(complete({ checksum: crc32 }))).toBe("InvalidRequest");
    const listed = parts.map((part) => ({ ...part, checksum: wrong }));
    expect(await codeOf(complete({ parts: listed }))).toBe("InvalidPart");
    expect((await complete()).etag).toMatch(/-2$/u);
  });

  it.each([
    ["sha256", "full"],
    ["crc64nvme", "composite"],
  ] as const)("does not create an upload of %s, %s", async (algorithm, type) => {
    expect(await codeOf(uploaded({ algorithm, type }))).toBe("InvalidRequest");
  });

  it("does without an algorithm as before", async () => {
    const { service } = makeService();
    const { id: uploadId } = await service.createUpload(putRequest("k", plan(0)));
    const bytes = PARTS[1]!;
    const value = base64(raw("crc32c", bytes));
    const body = plan(bytes.length, { checksum: { algorithm: "crc32c", value } });
    const part = { bucket: BUCKET, key: "k", uploadId, requestId: requestId() };
    await service.putPart({ ...part, partNumber: 1, body }, stream(bytes));
    const parts = [{ partNumber: 1, etag: md5(bytes), checksum: value }];
    const done = await service.completeUpload({ ...part, parts, precondition: {} });
    expect(done.checksum).toBeUndefined();
  });
});
