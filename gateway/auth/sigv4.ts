// Verifies Signature V4 of headers and presigned URLs. Rules: AWS "Signature Version 4", and what real clients do.
// No body is read here: the payload hash is part of the signature, and the coordinator checks the bytes against it.
import { assert } from "../../shared/errors.ts";
import { clockSkewMs, presignSecondsMax } from "../../shared/limits.ts";
import { type Grants } from "../../shared/records.ts";
import { S3Error } from "../s3/errors.ts";
import { type Target } from "../s3/target.ts";
import {
  canonicalHeaderValue,
  canonicalQueryOf,
  canonicalRequestOf,
  latin1Message,
  stringToSignOf,
} from "./canonical.ts";
import { type Claim, readClaim, timestampMs } from "./credential.ts";
import { type Credential, type FindCredential, SigningKeys } from "./keys.ts";
import { parsePayload, type Payload } from "./payload.ts";
import { type RequestHeaders } from "../request-headers.ts";

const EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

export interface SignedRequest {
  readonly method: string;
  readonly target: Target;
  readonly headers: RequestHeaders;
  /** Header lines as they came, for repeated headers; asked for only when needed. */
  readonly rawHeaders: () => readonly string[] | undefined;
  /** Names under which the client may know this gateway, the likeliest first; never empty. */
  readonly hosts: readonly string[];
  /** Wall ms. */
  readonly nowMs: number;
}

export interface Authenticated {
  readonly accessKeyId: string;
  readonly grants: Grants;
  readonly payload: Payload;
  /** What verifies the chunks of a body that is sent with signed chunks. */
  readonly chunks?: ChunkSeed | undefined;
}

/** Where the chain of chunk signatures begins. */
export interface ChunkSeed {
  /** The one-day signing key, 32 bytes. */
  readonly key: Uint8Array;
  /** The request's signature, 64 hex digits. */
  readonly signature: string;
  /** YYYYMMDDTHHMMSSZ. */
  readonly timestamp: string;
  /** date/region/service/aws4_request. */
  readonly scope: string;
}

export interface AuthenticatorOptions {
  readonly region: string;
  readonly credentials: FindCredential;
}

/** Decides who sent a request. */
export class Authenticator {
  readonly #region: string;
  readonly #find: FindCredential;
  readonly #keys = new SigningKeys();

  constructor(options: AuthenticatorOptions) {
    this.#region = options.region;
    this.#find = options.credentials;
  }

  /** Throws the S3Error that the client shall see when the request is not signed by a known key. */
  async authenticate(request: SignedRequest): Promise<Authenticated> {
    const claim = readClaim(request.headers, request.target.query);
    this.#checkScope(claim);
    checkTime(claim, request.nowMs);
    checkSignedHeaders(claim, request);
    const payloadHash = payloadHashOf(claim, request);
    const payload = parsePayload(payloadHash);
    const found = this.#find(claim.scope.accessKeyId);
    const credential = found instanceof Promise ? await found : found;
    if (!credential) {
      throw new S3Error("InvalidAccessKeyId", undefined, {
        AWSAccessKeyId: claim.scope.accessKeyId,
      });
    }
    const seed = this.#checkSignature(claim, request, payloadHash, credential);
    const chunks = payload.type === "streaming" && payload.signed ? seed : undefined;
    if (credential.expiresMs !== undefined && credential.expiresMs <= request.nowMs) {
      throw new S3Error("AccessDenied", "The access key has expired");
    }
    credential.used?.();
    return { accessKeyId: claim.scope.accessKeyId, grants: credential.grants, payload, chunks };
  }

  #checkScope(claim: Claim): void {
    const { region, service, date } = claim.scope;
    const code = claim.presigned
      ? "AuthorizationQueryParametersError"
      : "AuthorizationHeaderMalformed";
    // SDKs without a region say us-east-1 or auto.
    if (region !== this.#region && region !== "us-east-1" && region !== "auto") {
      const message = `The region "${region}" is wrong; expecting "${this.#region}"`;
      throw new S3Error(code, message, { Region: this.#region });
    }
    if (service !== "s3") {
      throw new S3Error(code, `The service "${service}" is wrong; expecting "s3"`);
    }
    if (!claim.timestamp.startsWith(date)) {
      throw new S3Error(code, `The credential's date "${date}" is not the request's date`);
    }
  }

  #checkSignature(
    claim: Claim,
    request: SignedRequest,
    payloadHash: string,
    credential: Credential,
  ): ChunkSeed {
    const { date, region, service } = claim.scope;
    const scope = `${date}/${region}/${service}/aws4_request`;
    const key = this.#keys.get(credential.secretAccessKey, claim.scope);
    const canonicalQuery = canonicalQueryOf(request.target.query);
    let canonicalRequest = "";
    let stringToSign = "";
    assert(request.hosts.length > 0, "a request has a host");
    for (const host of request.hosts) {
      canonicalRequest = canonicalRequestOf({
        method: request.method,
        canonicalPath: request.target.canonicalPath,
        canonicalQuery,
        headers: claim.signedHeaders.map((name) => [name, signedValue(name, host, request)]),
        payloadHash,
      });
      stringToSign = stringToSignOf(claim.timestamp, scope, canonicalRequest);
      const expected = key.sign(latin1Message(stringToSign));
      if (equalInConstantTime(expected, claim.signature)) {
        return { key: key.bytes, signature: expected, timestamp: claim.timestamp, scope };
      }
    }
    throw new S3Error("SignatureDoesNotMatch", undefined, {
      AWSAccessKeyId: claim.scope.accessKeyId,
      StringToSign: stringToSign,
      SignatureProvided: claim.signature,
      CanonicalRequest: canonicalRequest,
    });
  }
}

function checkTime(claim: Claim, nowMs: number): void {
  const signedMs = timestampMs(claim.timestamp);
  assert(signedMs !== undefined, "a claim's timestamp was parsed");
  if (claim.expiresSeconds === undefined) {
    if (Math.abs(nowMs - signedMs) > clockSkewMs) throw new S3Error("RequestTimeTooSkewed");
    return;
  }
  const seconds = claim.expiresSeconds;
  if (!(seconds >= 1 && seconds <= presignSecondsMax)) {
    const message = `X-Amz-Expires must be between 1 and ${presignSecondsMax} seconds`;
    throw new S3Error("AccessDenied", message);
  }
  if (signedMs - nowMs > clockSkewMs) throw new S3Error("AccessDenied", "Request is not yet valid");
  if (nowMs > signedMs + seconds * 1000) {
    throw new S3Error("AccessDenied", "Request has expired", {
      Expires: new Date(signedMs + seconds * 1000).toISOString(),
      ServerTime: new Date(nowMs).toISOString(),
    });
  }
}

/** Host and every x-amz header must be signed, or somebody on the way could add them. */
function checkSignedHeaders(claim: Claim, request: SignedRequest): void {
  const signed = new Set(claim.signedHeaders);
  if (!signed.has("host")) {
    throw new S3Error("AccessDenied", "The host header must be signed", {
      HeadersNotSigned: "host",
    });
  }
  for (const name of request.headers.keys()) {
    if (!name.startsWith("x-amz-") || signed.has(name) || needsNoSignature(name, claim, request))
      continue;
    throw new S3Error(
      "AccessDenied",
      "There were headers present in the request which were not signed",
      { HeadersNotSigned: name },
    );
  }
  for (const name of claim.signedHeaders) {
    if (name !== "host" && !request.headers.has(name)) {
      throw new S3Error("SignatureDoesNotMatch", `The signed header "${name}" is missing`);
    }
  }
}

/**
 * The payload hash is a line of the canonical request by itself. Beside a presigned URL that does not sign it, it is not
 * read: it must then not say that the body is encoded, or the encoding would be stored with the bytes.
 */
function needsNoSignature(name: string, claim: Claim, { headers }: SignedRequest): boolean {
  if (name !== "x-amz-content-sha256") return false;
  return !claim.presigned || headers.get(name)?.startsWith("STREAMING-") !== true;
}

function payloadHashOf(claim: Claim, request: SignedRequest): string {
  const header = request.headers.get("x-amz-content-sha256");
  if (!claim.presigned) {
    if (header !== null) return header;
    // curl before 8 signs the digest of nothing and does not send it. Where there is a body that says nothing about
    // it, so only requests without one may leave the header out.
    if (isBodyless(request.headers)) return EMPTY_SHA256;
    throw new S3Error(
      "InvalidRequest",
      "Missing required header for this request: x-amz-content-sha256",
    );
  }
  const parameter = request.target.query.get("X-Amz-Content-Sha256");
  if (parameter !== undefined) return parameter;
  const signed = header !== null && claim.signedHeaders.includes("x-amz-content-sha256");
  return signed ? header : "UNSIGNED-PAYLOAD";
}

function isBodyless(headers: RequestHeaders): boolean {
  return (headers.get("content-length") ?? "0") === "0" && !headers.has("transfer-encoding");
}

function signedValue(name: string, host: string, request: SignedRequest): string {
  if (name === "host") return host;
  const value = request.headers.get(name) ?? "";
  // Headers joins repeated lines by ", ", SigV4 by ",".
  const lines = value.includes(", ") ? repeatedLines(name, request.rawHeaders()) : [];
  if (lines.length > 1) return lines.map(canonicalHeaderValue).join(",");
  return canonicalHeaderValue(value);
}

function repeatedLines(name: string, raw: readonly string[] | undefined): string[] {
  const lines: string[] = [];
  if (raw === undefined) return lines;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (raw[i]!.toLowerCase() === name) lines.push(raw[i + 1]!);
  }
  return lines;
}

/** Compares two strings in a time that depends on the first one's length only. */
function equalInConstantTime(expected: string, given: string): boolean {
  let difference = expected.length ^ given.length;
  for (let i = 0; i < expected.length; i++) {
    difference |= expected.charCodeAt(i) ^ given.charCodeAt(i);
  }
  return difference === 0;
}
