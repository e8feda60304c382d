// The one table of expected failures. `gateway/s3/errors.ts` maps each code to S3's; no other place invents codes.

interface ErrorKind {
  /** HTTP status on every API but S3, which has its own table. */
  readonly status: number;
  /** Whether the same call may succeed later without a change. */
  readonly retryable: boolean;
  readonly meaning: string;
}

export const ERRORS = {
  NoSuchBucket: { status: 404, retryable: false, meaning: "The bucket does not exist" },
  NoSuchKey: { status: 404, retryable: false, meaning: "The object does not exist" },
  NoSuchUpload: { status: 404, retryable: false, meaning: "The multipart upload does not exist" },
  BucketAlreadyExists: { status: 409, retryable: false, meaning: "Another owner has this bucket" },
  BucketAlreadyOwnedByYou: { status: 409, retryable: false, meaning: "The bucket exists already" },
  BucketNotEmpty: { status: 409, retryable: false, meaning: "The bucket holds objects" },
  PreconditionFailed: { status: 412, retryable: false, meaning: "A precondition does not hold" },
  InvalidPart: {
    status: 400,
    retryable: false,
    meaning: "A listed part is missing or has another ETag",
  },
  InvalidPartOrder: { status: 400, retryable: false, meaning: "Parts are not in rising order" },
  EntityTooSmall: {
    status: 400,
    retryable: false,
    meaning: "A part that is not the last is too small",
  },
  EntityTooLarge: { status: 400, retryable: false, meaning: "The body is larger than allowed" },
  IncompleteBody: {
    status: 400,
    retryable: false,
    meaning: "The body ended before its declared length",
  },
  ContentDigestMismatch: {
    status: 400,
    retryable: false,
    meaning: "The body does not match Content-MD5",
  },
  ContentSha256Mismatch: {
    status: 400,
    retryable: false,
    meaning: "The body does not match x-amz-content-sha256",
  },
  ChecksumMismatch: {
    status: 400,
    retryable: false,
    meaning: "The body does not match its x-amz-checksum header or trailer",
  },
  MalformedTrailer: {
    status: 400,
    retryable: false,
    meaning: "The body's trailer is missing or damaged",
  },
  ChunkSignatureMismatch: {
    status: 403,
    retryable: false,
    meaning: "A chunk or the trailer does not have the signature that its key gives",
  },
  NoSuchAccessKey: { status: 404, retryable: false, meaning: "The access key does not exist" },
  AccessKeyExists: { status: 409, retryable: false, meaning: "The access key exists already" },
  Locked: {
    status: 409,
    retryable: true,
    meaning: "A native writer holds this object's lock",
  },
  MalformedBody: { status: 400, retryable: false, meaning: "The body's encoding is damaged" },
  InvalidRange: { status: 416, retryable: false, meaning: "The range lies outside the object" },
  InvalidRequest: { status: 400, retryable: false, meaning: "The request is malformed" },
  FenceTooOld: { status: 409, retryable: false, meaning: "A newer lock holder exists" },
  BlockDisowned: {
    status: 409,
    retryable: true,
    meaning: "The block was given up before its commit",
  },
  AccessDenied: { status: 403, retryable: false, meaning: "The caller may not do this" },
  SlowDown: { status: 503, retryable: true, meaning: "Too much work waits; try again" },
  Unavailable: { status: 503, retryable: true, meaning: "Not enough replicas answer" },
  DiskFull: { status: 507, retryable: true, meaning: "Too little free disk space" },
  Corrupt: { status: 500, retryable: true, meaning: "Stored bytes failed their check" },
  Internal: { status: 500, retryable: false, meaning: "A fault in Ringstow itself" },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** An expected failure with its code from the table. Crosses the wire as {code, message, details}. */
export class RingstowError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, message?: string, details: Readonly<Record<string, string>> = {}) {
    super(message ?? ERRORS[code].meaning);
    this.name = "RingstowError";
    this.code = code;
    this.details = details;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERRORS, text);
}

/** A broken assumption of the programmer: on in production. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`Assertion failed: ${message}`);
}
