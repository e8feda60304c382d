// How a request's body is encoded and what it must be. The gateway forwards the bytes; the coordinator checks them.
import { objectBytesMax } from "../../shared/limits.ts";
import { toHex } from "../../shared/ids.ts";
import { type BodyPlan } from "../../shared/object-service.ts";
import { type Payload } from "../auth/payload.ts";
import { S3Error } from "./errors.ts";

/**
 * The plan of a PUT's body. Throws MissingContentLength, EntityTooLarge or InvalidDigest; no byte is read.
 * aws-chunked is known by the payload kind: not every client names it in Content-Encoding.
 */
export function planBody(headers: Headers, payload: Payload): BodyPlan {
  const chunked = payload.type === "streaming";
  const declared = headers.get(chunked ? "x-amz-decoded-content-length" : "content-length");
  if (declared !== null && !/^\d{1,15}$/u.test(declared)) {
    throw new S3Error("InvalidArgument", `The declared length "${declared}" is not a number`);
  }
  if (declared === null && (chunked || !headers.has("transfer-encoding"))) {
    throw new S3Error("MissingContentLength");
  }
  const length = declared === null ? undefined : Number(declared);
  if (length !== undefined && length > objectBytesMax) {
    throw new S3Error("EntityTooLarge", undefined, {
      ProposedSize: String(length),
      MaxSizeAllowed: String(objectBytesMax),
    });
  }
  return {
    length,
    encoding: chunked ? "aws-chunked" : "plain",
    md5: contentMd5(headers),
    sha256: payload.type === "sha256" ? payload.hex : undefined,
  };
}

/** Content-MD5 as 32 hex digits; undefined when it is not there. Throws InvalidDigest. */
export function contentMd5(headers: Headers): string | undefined {
  const text = headers.get("content-md5");
  if (text === null) return undefined;
  // 16 bytes are 22 base64 digits; the last one carries only two bits.
  if (!/^[A-Za-z0-9+/]{21}[AQgw]==$/u.test(text)) throw new S3Error("InvalidDigest");
  return toHex(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)));
}
