// How a request's body is encoded and what it must be. The gateway forwards the bytes; the coordinator checks them.
import { objectBytesMax } from "../../shared/limits.ts";
import { fromHex, toHex } from "../../shared/ids.ts";
import { type BodyPlan, type ChunkSigning } from "../../shared/object-service.ts";
import { sealSecret } from "../../shared/sealed-secret.ts";
import { type Payload } from "../auth/payload.ts";
import { type Call } from "./call.ts";
import { algorithmNamed, algorithmOfHeader, declaredChecksum } from "./checksums.ts";
import { S3Error } from "./errors.ts";
import { type RequestHeaders } from "../request-headers.ts";

/** The plan of a call's body, with what verifies its chunks: the key goes sealed, only nodes can read it. */
export function planBodyOf(call: Pick<Call, "headers" | "auth" | "platform" | "config">): BodyPlan {
  const plan = planBody(call.headers, call.auth.payload);
  const { chunks } = call.auth;
  if (!chunks) return plan;
  const { key, signature, timestamp, scope } = chunks;
  const { randomId } = call.platform;
  const nonce = fromHex(randomId() + randomId()).subarray(0, 24);
  const about = `chunk signing\n${scope}\n${timestamp}`;
  const sealedKey = sealSecret(call.config.hopSecret, nonce, about, key);
  const signing: ChunkSigning = { sealedKey, seed: signature, timestamp, scope };
  return { ...plan, signing };
}

/**
 * The plan of a PUT's body but for signatures of chunks. Throws MissingContentLength, EntityTooLarge, InvalidDigest or
 * InvalidRequest; no byte is read.
 * aws-chunked is known by the payload kind: not every client names it in Content-Encoding.
 */
export function planBody(headers: RequestHeaders, payload: Payload): BodyPlan {
  const chunked = payload.type === "streaming";
  const coding = headers.get("transfer-encoding");
  if (coding !== null && coding.trim().toLowerCase() !== "chunked") {
    // Its bytes would be stored as they are, still compressed.
    const message = `The transfer coding "${coding}" is not supported`;
    throw new S3Error("NotImplemented", message, { Header: "transfer-encoding" });
  }
  const declared = declaredLength(headers, chunked);
  if (declared !== null && !/^\d{1,15}$/u.test(declared)) {
    throw new S3Error("InvalidArgument", `The declared length "${declared}" is not a number`);
  }
  if (declared === null && (chunked || coding === null)) {
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
    ...checksumPlan(headers, payload),
  };
}

/** Of the decoded body. Throws InvalidRequest when two headers declare two lengths of a body that is not encoded. */
function declaredLength(headers: RequestHeaders, chunked: boolean): string | null {
  const decoded = headers.get("x-amz-decoded-content-length");
  if (chunked) return decoded;
  const sent = headers.get("content-length");
  if (decoded !== null && sent !== null && decoded !== sent) {
    throw new S3Error(
      "InvalidRequest",
      "The x-amz-decoded-content-length header needs an x-amz-content-sha256 that announces an aws-chunked body",
    );
  }
  return sent ?? decoded;
}

function checksumPlan(
  headers: RequestHeaders,
  payload: Payload,
): Pick<BodyPlan, "checksum" | "trailers"> {
  const declared = declaredChecksum(headers);
  const trailers = trailerNames(headers, payload);
  const announced = trailers?.length === 1 ? algorithmOfHeader(trailers[0]!) : undefined;
  if (declared && announced) {
    throw new S3Error("InvalidRequest", "Expecting a single x-amz-checksum- header");
  }
  const checksum = declared ?? (announced && { algorithm: announced });
  const named = headers.get("x-amz-sdk-checksum-algorithm");
  if (named !== null && algorithmNamed(named) === undefined) {
    throw new S3Error(
      "InvalidRequest",
      "Value for x-amz-sdk-checksum-algorithm header is invalid.",
    );
  }
  if (named !== null && !checksum) {
    throw new S3Error(
      "InvalidRequest",
      "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
    );
  }
  if (named !== null && algorithmNamed(named) !== checksum?.algorithm) {
    throw new S3Error(
      "InvalidRequest",
      "Value for x-amz-sdk-checksum-algorithm header is invalid.",
    );
  }
  return { checksum, trailers };
}

/** Lower-case names of trailers to come; undefined when none may come. */
function trailerNames(headers: RequestHeaders, payload: Payload): readonly string[] | undefined {
  const header = headers.get("x-amz-trailer");
  const expected = payload.type === "streaming" && payload.trailer;
  if (!expected) {
    if (header === null) return undefined;
    throw new S3Error(
      "InvalidRequest",
      "The x-amz-trailer header needs an x-amz-content-sha256 that announces a trailer",
    );
  }
  const names = (header ?? "")
    .split(",")
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== "");
  if (names.length > 1 && names.every((name) => algorithmOfHeader(name) !== undefined)) {
    throw new S3Error("InvalidRequest", "Expecting a single x-amz-checksum- header");
  }
  if (names.length !== 1 || algorithmOfHeader(names[0]!) === undefined) {
    throw new S3Error(
      "InvalidRequest",
      "The value specified in the x-amz-trailer header is not supported",
    );
  }
  return names;
}

/** Content-MD5 as 32 hex digits; undefined when it is not there. Throws InvalidDigest. */
export function contentMd5(headers: RequestHeaders): string | undefined {
  const text = headers.get("content-md5");
  if (text === null) return undefined;
  // 16 bytes are 22 base64 digits; the last one carries only two bits.
  if (!/^[A-Za-z0-9+/]{21}[AQgw]==$/u.test(text)) throw new S3Error("InvalidDigest");
  return toHex(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)));
}
