// The service that a node offers to gateways: objects, buckets, uploads. node/object fulfils it; a gateway calls it
// in-process (`ringstow node --gateway`) or over HTTP through shared/object-protocol.ts. All calls throw RingstowError.
import { type BucketId, type RequestId, type UploadId } from "./ids.ts";
import {
  type Bucket,
  type Checksum,
  type ChecksumAlgorithm,
  type Described,
  type Entry,
  type Part,
  type Precondition,
  type Upload,
  type UploadChecksum,
} from "./records.ts";

/** A body as it comes from or goes to a socket. A chunk is its reader's, who may give its memory back (chunk-memory.ts). */
export type ByteStream = AsyncIterable<Uint8Array>;

/** Which bucket a call is about. Gateways cache it; a stale one fails with NoSuchBucket. */
export interface BucketRef {
  readonly id: BucketId;
  readonly shards: number;
}

/** How a request body is encoded and what it must be. The coordinator decodes and checks it while it writes. */
export interface BodyPlan {
  /** Length of the decoded body in bytes, if it was declared. */
  readonly length: number | undefined;
  /** "aws-chunked": chunk headers, optional signatures and trailers, as SDKs send them. */
  readonly encoding: "plain" | "aws-chunked";
  /** 16 bytes as hex. */
  readonly md5?: string | undefined;
  /** 32 bytes as hex. */
  readonly sha256?: string | undefined;
  /** What the client says of the decoded body. Without a value it comes in the trailer. */
  readonly checksum?:
    | { readonly algorithm: ChecksumAlgorithm; readonly value?: string | undefined }
    | undefined;
  /** Names in x-amz-trailer, lower-case: each must come. */
  readonly trailers?: readonly string[] | undefined;
  /** Of an aws-chunked body whose chunks (and trailer) are signed. */
  readonly signing?: ChunkSigning | undefined;
}

/** What verifies the signatures of chunks (SigV4, streaming). */
export interface ChunkSigning {
  /** The one-day signing key, sealed by shared/sealed-secret.ts under the hop's secret: it never travels in clear. */
  readonly sealedKey: string;
  /** The request's own signature, 64 hex digits: what the first chunk's is chained to. */
  readonly seed: string;
  /** YYYYMMDDTHHMMSSZ. */
  readonly timestamp: string;
  /** date/region/service/aws4_request. */
  readonly scope: string;
}

/** A write that a precondition may refuse. */
export interface ConditionalWrite {
  readonly precondition: Precondition;
  /** The same for all attempts at one request: it is done once. */
  readonly requestId: RequestId;
  /**
   * An earlier attempt under this requestId may still be under way. When this one is answered that it had no effect,
   * the earlier one has none either, however late it comes.
   */
  readonly again?: boolean | undefined;
}

export interface PutRequest extends Described, ConditionalWrite {
  readonly bucket: BucketRef;
  readonly key: string;
  readonly body: BodyPlan;
}

export interface PutResult {
  /** Unquoted. */
  readonly etag: string;
  readonly version: number;
  readonly lastModifiedMs: number;
  readonly checksum?: Checksum | undefined;
}

/** What is copied, and under which conditions of the source (PreconditionFailed when they do not hold). */
export interface CopySource {
  readonly bucket: BucketRef;
  readonly key: string;
  readonly conditions: ReadConditions;
}

export interface CopyRequest extends ConditionalWrite {
  readonly bucket: BucketRef;
  readonly key: string;
  readonly source: CopySource;
  /** Instead of the source's own headers and metadata. */
  readonly described?: Described | undefined;
}

export interface CopyPartRequest {
  readonly bucket: BucketRef;
  readonly key: string;
  readonly uploadId: UploadId;
  readonly partNumber: number;
  readonly source: CopySource;
  /** Bytes from..to, both inclusive as in the header; InvalidRange when the source is shorter. */
  readonly range?: { readonly from: number; readonly to: number } | undefined;
  readonly requestId: RequestId;
}

/** Conditions of a read, ETags unquoted, "*" for any; evaluated with S3's precedence (RFC 9110 section 13.2.2). */
export interface ReadConditions {
  readonly ifMatch?: readonly string[] | undefined;
  readonly ifNoneMatch?: readonly string[] | undefined;
  /** Wall ms, whole seconds. */
  readonly ifModifiedSinceMs?: number | undefined;
  readonly ifUnmodifiedSinceMs?: number | undefined;
}

/** One byte range as the client asked for it. */
export type RangeRequest =
  /** `to` is the last byte wanted, inclusive as in the header; undefined: to the end. */
  | { readonly from: number; readonly to: number | undefined }
  /** The last `suffix` bytes. */
  | { readonly suffix: number };

export interface GetRequest {
  readonly bucket: BucketRef;
  readonly key: string;
  readonly conditions: ReadConditions;
  /** Ignored when `ifRange` is given and does not name the present ETag or time. */
  readonly range?: RangeRequest | undefined;
  readonly ifRange?: string | undefined;
  /** A part of a multipart object, counted from 1. Excludes `range`. */
  readonly partNumber?: number | undefined;
  /** HEAD: no body is read. */
  readonly headOnly: boolean;
}

export type GetResult =
  | {
      readonly type: "object";
      readonly entry: Entry;
      /** Bytes from..to (exclusive) of the object that `body` carries. */
      readonly from: number;
      readonly to: number;
      /** Whether the answer is partial (206). */
      readonly partial: boolean;
      readonly partsCount: number | undefined;
      /** Throws when no replica can go on: the response must then break, never end short. Empty for HEAD. */
      readonly body: ByteStream;
    }
  /** If-None-Match or If-Modified-Since held: 304. */
  | { readonly type: "notModified"; readonly entry: Entry };

export interface ListRequest {
  readonly bucket: BucketRef;
  readonly prefix: string;
  readonly delimiter: string;
  /** Only keys after this one; undefined from the start. */
  readonly after: string | undefined;
  /** Set when `after` is a common prefix: resume behind everything under it. */
  readonly afterPrefix: boolean;
  /** Keys and common prefixes together, 1..1000. */
  readonly limit: number;
}

export interface ListResult {
  readonly entries: readonly { readonly key: string; readonly entry: Entry }[];
  readonly commonPrefixes: readonly string[];
  readonly truncated: boolean;
  /** The last key or common prefix of the page in key order; where the next page goes on. */
  readonly last: { readonly after: string; readonly afterPrefix: boolean } | undefined;
}

export interface ListUploadsRequest {
  readonly bucket: BucketRef;
  readonly prefix: string;
  readonly delimiter: string;
  readonly keyMarker: string | undefined;
  readonly uploadIdMarker: string | undefined;
  readonly limit: number;
}

export interface ListUploadsResult {
  readonly uploads: readonly { readonly key: string; readonly upload: Upload }[];
  readonly commonPrefixes: readonly string[];
  readonly truncated: boolean;
  readonly nextKeyMarker: string | undefined;
  readonly nextUploadIdMarker: string | undefined;
}

interface InBucket {
  readonly bucket: BucketRef;
  readonly key: string;
}
interface InUpload extends InBucket {
  readonly uploadId: UploadId;
}

export interface ObjectService {
  createBucket(request: { name: string; owner: string; requestId: RequestId }): Promise<Bucket>;
  /** Throws NoSuchBucket. */
  getBucket(request: { name: string }): Promise<Bucket>;
  /** Throws BucketNotEmpty; nothing can be written to the bucket once it succeeded. */
  deleteBucket(request: { name: string; requestId: RequestId }): Promise<void>;
  listBuckets(request: {
    after: string | undefined;
    limit: number;
  }): Promise<{ buckets: readonly Bucket[]; truncated: boolean }>;

  put(request: PutRequest, body: ByteStream): Promise<PutResult>;
  get(request: GetRequest): Promise<GetResult>;
  /** Deleting what does not exist succeeds. */
  delete(request: InBucket & ConditionalWrite): Promise<{ existed: boolean }>;
  list(request: ListRequest): Promise<ListResult>;

  /** Within the cluster: no byte passes the gateway, and where hard links serve none is copied. */
  copy(request: CopyRequest): Promise<PutResult>;
  copyPart(request: CopyPartRequest): Promise<PutResult>;

  createUpload(
    request: InBucket & Described & { checksum?: UploadChecksum | undefined; requestId: RequestId },
  ): Promise<Upload>;
  putPart(
    request: InUpload & { partNumber: number; body: BodyPlan; requestId: RequestId },
    body: ByteStream,
  ): Promise<PutResult>;
  completeUpload(
    request: InUpload &
      ConditionalWrite & {
        parts: readonly {
          partNumber: number;
          etag: string;
          /** Base64, of the upload's algorithm. */
          checksum?: string | undefined;
        }[];
        /** What the finished object's must be, if the client says: base64, composite with its "-N" or without. */
        checksum?: { algorithm: ChecksumAlgorithm; value: string } | undefined;
        /** Bytes that the finished object must have. */
        size?: number | undefined;
      },
  ): Promise<PutResult>;
  abortUpload(request: InUpload & { requestId: RequestId }): Promise<void>;
  listParts(request: InUpload & { after: number; limit: number }): Promise<{
    upload: Upload;
    parts: readonly (Part & { partNumber: number })[];
    truncated: boolean;
  }>;
  listUploads(request: ListUploadsRequest): Promise<ListUploadsResult>;
}
