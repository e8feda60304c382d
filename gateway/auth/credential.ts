// What a request says about its signature, from the Authorization header or from the query of a presigned URL.
// Only parses; sigv4.ts decides.
import { S3Error } from "../s3/errors.ts";
import { type Query } from "../s3/target.ts";
import { parseHttpDate } from "../s3/http-date.ts";
import { type CredentialScope } from "./keys.ts";
import { type RequestHeaders } from "../request-headers.ts";

const ALGORITHM = "AWS4-HMAC-SHA256";
const HEADER_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]+$/u;

type MalformedCode = "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError";

export interface Claim {
  readonly presigned: boolean;
  readonly scope: CredentialScope;
  /** YYYYMMDDTHHMMSSZ. */
  readonly timestamp: string;
  /** Lower-case names in the client's order. */
  readonly signedHeaders: readonly string[];
  readonly signature: string;
  /** Seconds a presigned URL is good for. */
  readonly expiresSeconds: number | undefined;
}

/** Reads the claim of a request. Throws AccessDenied when it is anonymous, other S3 errors when it is malformed. */
export function readClaim(headers: RequestHeaders, query: Query): Claim {
  // A presigned URL counts alone: some clients add an Authorization header of another service.
  if (query.has("X-Amz-Algorithm") || query.has("X-Amz-Signature")) return readPresigned(query);
  const authorization = headers.get("authorization");
  if (authorization !== null) return readHeader(authorization, headers);
  if (query.has("Signature") && query.has("AWSAccessKeyId")) throw oldSignature();
  throw new S3Error("AccessDenied");
}

function oldSignature(): S3Error {
  return new S3Error(
    "InvalidRequest",
    `The authorization mechanism you have provided is not supported. Please use ${ALGORITHM}`,
  );
}

function readHeader(authorization: string, headers: RequestHeaders): Claim {
  if (!authorization.startsWith(`${ALGORITHM} `)) throw oldSignature();
  const fields = new Map<string, string>();
  for (const piece of authorization.slice(ALGORITHM.length + 1).split(",")) {
    const equals = piece.indexOf("=");
    if (equals < 0) throw new S3Error("AuthorizationHeaderMalformed");
    fields.set(piece.slice(0, equals).trim(), piece.slice(equals + 1).trim());
  }
  const credential = fields.get("Credential");
  const signedHeaders = fields.get("SignedHeaders");
  const signature = fields.get("Signature");
  if (credential === undefined || signedHeaders === undefined || signature === undefined) {
    throw new S3Error(
      "AuthorizationHeaderMalformed",
      "The authorization header needs Credential, SignedHeaders and Signature",
    );
  }
  return {
    presigned: false,
    scope: readScope(credential, "AuthorizationHeaderMalformed"),
    timestamp: headerTimestamp(headers),
    signedHeaders: readSignedHeaders(signedHeaders, "AuthorizationHeaderMalformed"),
    signature,
    expiresSeconds: undefined,
  };
}

function readPresigned(query: Query): Claim {
  const need = (name: string): string => {
    const value = query.get(name);
    if (value === undefined || value === "") {
      throw new S3Error(
        "AuthorizationQueryParametersError",
        `Query-string authentication needs the parameter ${name}`,
      );
    }
    return value;
  };
  if (need("X-Amz-Algorithm") !== ALGORITHM) throw oldSignature();
  const timestamp = need("X-Amz-Date");
  if (timestampMs(timestamp) === undefined) {
    throw new S3Error(
      "AuthorizationQueryParametersError",
      "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
    );
  }
  const expires = need("X-Amz-Expires");
  return {
    presigned: true,
    scope: readScope(need("X-Amz-Credential"), "AuthorizationQueryParametersError"),
    timestamp,
    signedHeaders: readSignedHeaders(
      need("X-Amz-SignedHeaders"),
      "AuthorizationQueryParametersError",
    ),
    signature: need("X-Amz-Signature"),
    expiresSeconds: /^-?\d{1,15}$/u.test(expires) ? Number(expires) : Number.NaN,
  };
}

function readSignedHeaders(text: string, code: MalformedCode): readonly string[] {
  const names = text.split(";");
  if (!names.every((name) => HEADER_NAME.test(name))) {
    throw new S3Error(code, `SignedHeaders "${text}" is malformed`);
  }
  return names;
}

function readScope(credential: string, code: MalformedCode): CredentialScope {
  // From the right: an access key may hold slashes.
  const pieces = credential.split("/");
  const [date, region, service, end] = pieces.slice(-4);
  const accessKeyId = pieces.slice(0, -4).join("/");
  if (!accessKeyId || !date || !region || !service || end !== "aws4_request") {
    throw new S3Error(code, `The credential "${credential}" is malformed`);
  }
  return { accessKeyId, date, region, service };
}

function headerTimestamp(headers: RequestHeaders): string {
  const text = headers.get("x-amz-date") ?? headers.get("date");
  if (text !== null && timestampMs(text) !== undefined) return text;
  const ms = text === null ? undefined : parseHttpDate(text);
  if (ms === undefined) {
    throw new S3Error(
      "AccessDenied",
      "AWS authentication requires a valid Date or x-amz-date header",
    );
  }
  return new Date(ms).toISOString().replace(/[-:]|\.\d+/gu, "");
}

/** Wall ms of YYYYMMDDTHHMMSSZ; undefined when it is none. */
export function timestampMs(text: string): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/u.exec(text);
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number);
  return Date.UTC(year!, month! - 1, day, hour, minute, second);
}
