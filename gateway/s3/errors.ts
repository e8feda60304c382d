// S3's error codes and how Ringstow's own become them; the XML that carries them. The only place that decides both.
import { ERRORS, type ErrorCode, RingstowError } from "../../shared/errors.ts";
import { xmlDocument, type XmlElement } from "./xml-write.ts";

interface S3ErrorKind {
  readonly status: number;
  readonly message: string;
}

/** Code -> HTTP status and the usual message (S3 API reference, "Error responses"). */
export const S3_ERRORS = {
  AccessControlListNotSupported: { status: 400, message: "The bucket does not allow ACLs" },
  AccessDenied: { status: 403, message: "Access Denied" },
  AuthorizationHeaderMalformed: { status: 400, message: "The authorization header is malformed" },
  AuthorizationQueryParametersError: {
    status: 400,
    message: "Query-string authentication needs all of its parameters",
  },
  BadDigest: {
    status: 400,
    message: "The Content-MD5 you specified did not match what we received",
  },
  BucketAlreadyExists: { status: 409, message: "The requested bucket name is not available" },
  BucketAlreadyOwnedByYou: { status: 409, message: "You own a bucket of this name already" },
  BucketNotEmpty: { status: 409, message: "The bucket you tried to delete is not empty" },
  EntityTooLarge: { status: 400, message: "Your upload exceeds the maximum allowed size" },
  EntityTooSmall: { status: 400, message: "Your upload is smaller than the minimum allowed size" },
  IncompleteBody: {
    status: 400,
    message: "You did not provide the number of bytes specified by the Content-Length header",
  },
  InsufficientStorage: { status: 507, message: "Too little free disk space" },
  InternalError: { status: 500, message: "We encountered an internal error. Please try again" },
  InvalidAccessKeyId: { status: 403, message: "The access key ID you provided does not exist" },
  InvalidArgument: { status: 400, message: "Invalid argument" },
  InvalidBucketName: { status: 400, message: "The specified bucket is not valid" },
  InvalidDigest: { status: 400, message: "The Content-MD5 you specified is not valid" },
  InvalidPart: { status: 400, message: "A listed part was not found or has another entity tag" },
  InvalidPartOrder: { status: 400, message: "The list of parts was not in ascending order" },
  InvalidRange: { status: 416, message: "The requested range is not satisfiable" },
  InvalidRequest: { status: 400, message: "Invalid request" },
  InvalidStorageClass: { status: 400, message: "The storage class you specified is not valid" },
  InvalidURI: { status: 400, message: "Couldn't parse the specified URI" },
  KeyTooLongError: { status: 400, message: "Your key is too long" },
  MalformedXML: { status: 400, message: "The XML you provided was not well-formed or not valid" },
  MalformedTrailerError: {
    status: 400,
    message: "The request contained trailing data that was not well-formed or not valid",
  },
  MetadataTooLarge: { status: 400, message: "Your metadata headers exceed the maximum size" },
  MissingContentLength: { status: 411, message: "You must provide the Content-Length header" },
  NoSuchBucket: { status: 404, message: "The specified bucket does not exist" },
  NoSuchBucketPolicy: { status: 404, message: "The bucket policy does not exist" },
  NoSuchKey: { status: 404, message: "The specified key does not exist" },
  NoSuchUpload: { status: 404, message: "The specified multipart upload does not exist" },
  NoSuchVersion: { status: 404, message: "The specified version does not exist" },
  NotImplemented: { status: 501, message: "What you asked for is not implemented" },
  ObjectLockConfigurationNotFoundError: {
    status: 404,
    message: "Object Lock configuration does not exist for this bucket",
  },
  OperationAborted: { status: 409, message: "A conflicting operation is in progress" },
  PreconditionFailed: {
    status: 412,
    message: "At least one of the pre-conditions you specified did not hold",
  },
  RequestHeaderSectionTooLarge: { status: 400, message: "Your request header is too large" },
  RequestTimeout: {
    status: 400,
    message: "Your socket connection to the server was not read from or written to in time",
  },
  RequestTimeTooSkewed: {
    status: 403,
    message: "The difference between the request time and the current time is too large",
  },
  ServiceUnavailable: { status: 503, message: "Please reduce your request rate or try again" },
  SignatureDoesNotMatch: {
    status: 403,
    message: "The request signature we calculated does not match the signature you provided",
  },
  SlowDown: { status: 503, message: "Please reduce your request rate" },
  XAmzContentSHA256Mismatch: {
    status: 400,
    message: "The provided x-amz-content-sha256 header does not match what was computed",
  },
} as const satisfies Record<string, S3ErrorKind>;

export type S3ErrorCode = keyof typeof S3_ERRORS;

/** A failure in S3's own words, found by the gateway. `fields` become elements of the XML. */
export class S3Error extends Error {
  readonly code: S3ErrorCode;
  readonly fields: Readonly<Record<string, string>>;

  constructor(code: S3ErrorCode, message?: string, fields: Readonly<Record<string, string>> = {}) {
    super(message ?? S3_ERRORS[code].message);
    this.name = "S3Error";
    this.code = code;
    this.fields = fields;
  }

  get status(): number {
    return S3_ERRORS[this.code].status;
  }
}

/** What each of Ringstow's codes is called in S3. Too few replicas is 503, which SDKs try again; never 500. */
export const S3_CODE_OF = {
  NoSuchBucket: "NoSuchBucket",
  NoSuchKey: "NoSuchKey",
  NoSuchUpload: "NoSuchUpload",
  BucketAlreadyExists: "BucketAlreadyExists",
  BucketAlreadyOwnedByYou: "BucketAlreadyOwnedByYou",
  BucketNotEmpty: "BucketNotEmpty",
  PreconditionFailed: "PreconditionFailed",
  InvalidPart: "InvalidPart",
  InvalidPartOrder: "InvalidPartOrder",
  EntityTooSmall: "EntityTooSmall",
  EntityTooLarge: "EntityTooLarge",
  IncompleteBody: "IncompleteBody",
  ContentDigestMismatch: "BadDigest",
  ContentSha256Mismatch: "XAmzContentSHA256Mismatch",
  ChecksumMismatch: "BadDigest",
  MalformedTrailer: "MalformedTrailerError",
  ChunkSignatureMismatch: "SignatureDoesNotMatch",
  NoSuchAccessKey: "InvalidAccessKeyId",
  AccessKeyExists: "InvalidRequest",
  Locked: "SlowDown",
  MalformedBody: "InvalidRequest",
  InvalidRange: "InvalidRange",
  InvalidRequest: "InvalidRequest",
  FenceTooOld: "OperationAborted",
  BlockDisowned: "ServiceUnavailable",
  AccessDenied: "AccessDenied",
  SlowDown: "SlowDown",
  Unavailable: "ServiceUnavailable",
  DiskFull: "InsufficientStorage",
  Corrupt: "InternalError",
  Internal: "InternalError",
} as const satisfies Record<ErrorCode, S3ErrorCode>;

/** What the details of Ringstow's errors are called in S3; the others are not told. */
const S3_FIELD_OF: Readonly<Record<string, string>> = {
  size: "ActualObjectSize",
  range: "RangeRequested",
  partNumber: "PartNumber",
  etag: "ETag",
  proposedSize: "ProposedSize",
  minimumSize: "MinSizeAllowed",
  maximum: "MaxSizeAllowed",
};

function fieldsOf(details: RingstowError["details"]): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const [name, value] of Object.entries(details)) {
    if (Object.hasOwn(S3_FIELD_OF, name)) fields[S3_FIELD_OF[name]!] = value;
  }
  return fields;
}

/**
 * Anything thrown, as an S3 error. The message of a fault stays here: it may tell of the inside.
 * Codes that this gateway does not know (a newer node) are faults too.
 */
export function toS3Error(error: unknown): S3Error {
  if (error instanceof S3Error) return error;
  if (!(error instanceof RingstowError) || !Object.hasOwn(S3_CODE_OF, error.code)) {
    return new S3Error("InternalError");
  }
  const code = S3_CODE_OF[error.code];
  if (code === "InternalError") return new S3Error(code);
  return new S3Error(code, messageOf(error), fieldsOf(error.details));
}

/** undefined: the usual one of S3's code. */
function messageOf({ code, message, details }: RingstowError): string | undefined {
  if (message !== ERRORS[code].meaning) return message;
  // S3 has one code for this and for Content-MD5.
  if (code !== "ChecksumMismatch") return undefined;
  const algorithm = details["algorithm"]?.toUpperCase() ?? "checksum";
  return `The ${algorithm} you specified did not match the calculated checksum`;
}

/** Whether an error is a fault of ours that somebody should look at. */
export function isFault(error: unknown): boolean {
  return toS3Error(error).code === "InternalError";
}

/** Elements of an error in the order S3 writes them. */
export function errorElements(
  error: S3Error,
  resource: string,
  requestId: string,
): readonly XmlElement[] {
  return [
    ["Code", error.code],
    ["Message", error.message],
    ...Object.entries(error.fields).filter(([name]) => /^[A-Z][A-Za-z0-9]*$/u.test(name)),
    ["Resource", resource],
    ["RequestId", requestId],
  ];
}

/** The whole answer. HEAD has no body. */
export function errorResponse(
  error: S3Error,
  about: { readonly resource: string; readonly requestId: string; readonly head: boolean },
): Response {
  const headers = new Headers({ "x-amz-request-id": about.requestId });
  // RFC 9110 section 15.5.17: says how long the object is.
  const size = error.fields["ActualObjectSize"];
  if (error.code === "InvalidRange" && size !== undefined) {
    headers.set("content-range", `bytes */${size}`);
  }
  if (about.head) return new Response(null, { status: error.status, headers });
  headers.set("content-type", "application/xml");
  const xml = errorXml(error, about.resource, about.requestId);
  return new Response(xml, { status: error.status, headers });
}

/** The document of an error. */
export function errorXml(error: S3Error, resource: string, requestId: string): string {
  return xmlDocument("Error", errorElements(error, resource, requestId), "");
}
