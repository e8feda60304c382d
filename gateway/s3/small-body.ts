// Reads the XML body of a request into memory, bounded, and checks the digests that the client gave.
import { md5 } from "@noble/hashes/legacy.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { RingstowError } from "../../shared/errors.ts";
import { toHex } from "../../shared/ids.ts";
import { xmlBytesMax } from "../../shared/limits.ts";
import { contentMd5 } from "./body-plan.ts";
import { type Call } from "./call.ts";
import { S3Error } from "./errors.ts";

/** At most `xmlBytesMax` bytes. Throws EntityTooLarge, BadDigest or XAmzContentSHA256Mismatch. */
export async function readSmallBody(call: Call): Promise<Uint8Array> {
  const { payload } = call.auth;
  if (payload.type === "streaming") {
    const message = `${call.route.operation} does not take an aws-chunked body`;
    throw new S3Error("NotImplemented", message, { Header: "x-amz-content-sha256" });
  }
  const expectedMd5 = contentMd5(call.headers);
  const bytes = await collect(call);
  if (expectedMd5 !== undefined && toHex(md5(bytes)) !== expectedMd5) {
    throw new RingstowError("ContentDigestMismatch");
  }
  if (payload.type === "sha256" && toHex(sha256(bytes)) !== payload.hex) {
    throw new RingstowError("ContentSha256Mismatch");
  }
  return bytes;
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
