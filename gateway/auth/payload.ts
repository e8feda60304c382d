// x-amz-content-sha256: either the body's digest, or how the body is sent.
import { S3Error } from "../s3/errors.ts";

export type Payload =
  /** 64 lower-case hex digits; the body must have it. */
  | { readonly type: "sha256"; readonly hex: string }
  | { readonly type: "unsigned" }
  /** aws-chunked. `signed`: every chunk carries a signature; `trailer`: checksum headers follow the last chunk. */
  | { readonly type: "streaming"; readonly signed: boolean; readonly trailer: boolean };

/** Throws NotImplemented for a kind that is not known. */
export function parsePayload(value: string): Payload {
  if (/^[0-9a-f]{64}$/iu.test(value)) return { type: "sha256", hex: value.toLowerCase() };
  switch (value) {
    case "UNSIGNED-PAYLOAD":
      return { type: "unsigned" };
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD":
      return { type: "streaming", signed: true, trailer: false };
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
      return { type: "streaming", signed: true, trailer: true };
    case "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
      return { type: "streaming", signed: false, trailer: true };
    default:
      throw new S3Error("NotImplemented", `The x-amz-content-sha256 "${value}" is not supported`, {
        Header: "x-amz-content-sha256",
      });
  }
}
