// Reads the XML body of a request into memory, bounded, and checks the digests that the client gave.
import { md5, sha1 } from "@noble/hashes/legacy.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { RingstowError } from "../../shared/errors.ts";
import { toHex } from "../../shared/ids.ts";
import { xmlBytesMax } from "../../shared/limits.ts";
import { type ChecksumAlgorithm } from "../../shared/records.ts";
import { contentMd5 } from "./body-plan.ts";
import { type Call } from "./call.ts";
import { declaredChecksum } from "./checksums.ts";
import { crc32, crc32c, crc64nvme } from "./small-crc.ts";
import { S3Error } from "./errors.ts";

/**
 * At most `xmlBytesMax` bytes. Throws EntityTooLarge, BadDigest or XAmzContentSHA256Mismatch.
 * @param checksum "unchecked": an x-amz-checksum header is about something else than this body
 */
export async function readSmallBody(
  call: Call,
  checksum: "checked" | "unchecked" = "checked",
): Promise<Uint8Array> {
  const { payload } = call.auth;
  if (payload.type === "streaming") {
    const message = `${call.route.operation} does not take an aws-chunked body`;
    throw new S3Error("NotImplemented", message, { Header: "x-amz-content-sha256" });
  }
  const expectedMd5 = contentMd5(call.headers);
  const declared = checksum === "checked" ? declaredChecksum(call.headers) : undefined;
  const bytes = await collect(call);
  if (declared && base64Digest(declared.algorithm, bytes) !== declared.value) {
    throw new RingstowError("ChecksumMismatch", undefined, { algorithm: declared.algorithm });
  }
  if (expectedMd5 !== undefined && toHex(md5(bytes)) !== expectedMd5) {
    throw new RingstowError("ContentDigestMismatch");
  }
  if (payload.type === "sha256" && toHex(sha256(bytes)) !== payload.hex) {
    throw new RingstowError("ContentSha256Mismatch");
  }
  return bytes;
}

function base64Digest(algorithm: ChecksumAlgorithm, bytes: Uint8Array): string {
  const digest = { crc32, crc32c, crc64nvme, sha1, sha256 }[algorithm](bytes);
  return btoa(String.fromCharCode(...digest));
}

async function collect(call: Call): Promise<Uint8Array> {
  if (Number(call.headers.get("content-length") ?? 0) > xmlBytesMax) {
    throw new S3Error("EntityTooLarge");
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of call.body()) {
    length += chunk.length;
    if (length > xmlBytesMax) throw new S3Error("EntityTooLarge");
    chunks.push(chunk);
  }
  if (chunks.length === 1) return chunks[0]!;
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}
