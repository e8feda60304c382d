// What registers hold and what crosses the wire about objects, as zod schemas with their types.
import * as z from "zod/mini";
import { type BlockId, type BucketId, type NodeId, type RequestId, type UploadId } from "./ids.ts";

const branded = <T extends string>(digits: number) =>
  z.pipe(
    z.string().check(z.regex(new RegExp(`^[0-9a-f]{${digits}}$`, "u"))),
    z.transform((text) => text as T),
  );

export const nodeIdSchema = branded<NodeId>(32);
export const bucketIdSchema = branded<BucketId>(32);
export const blockIdSchema = branded<BlockId>(32);
export const uploadIdSchema = branded<UploadId>(32);
export const requestIdSchema = branded<RequestId>(32);

const count = z.int().check(z.nonnegative());

/** One replica of a block: the node that has it, and the version of the bytes there (the paper's pointer). */
export const pointerSchema = z.object({ node: nodeIdSchema, version: count });
export type Pointer = z.infer<typeof pointerSchema>;

/** A block and all of its replicas. */
export const blockRefSchema = z.object({
  id: blockIdSchema,
  /** Bytes. */
  size: count,
  replicas: z.array(pointerSchema),
  /** Nodes whose copy was replaced and may still be there; never replicas until it is known to be gone. */
  former: z.optional(z.array(nodeIdSchema)),
});
export type BlockRef = z.infer<typeof blockRefSchema>;

/** A part of a finished multipart object; its blocks stand in the part's own register. */
export const partRefSchema = z.object({
  partNumber: count,
  /** Which sending of the part: names its register, which never changes afterwards. 16 hex digits. */
  attempt: z.string(),
  /** Bytes. */
  size: count,
  /** Hex MD5 of the part, unquoted. */
  etag: z.string(),
  /** Of the object's algorithm, base64. */
  checksum: z.optional(z.string()),
});
export type PartRef = z.infer<typeof partRefSchema>;

/** Where an object's bytes are. "inline": beside the register. */
export const bodyRefSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("inline") }),
  z.object({ kind: z.literal("blocks"), blocks: z.array(blockRefSchema) }),
  z.object({ kind: z.literal("parts"), uploadId: uploadIdSchema, parts: z.array(partRefSchema) }),
]);
export type BodyRef = z.infer<typeof bodyRefSchema>;

/** Response headers that S3 stores with an object, as the client sent them. */
export const contentHeadersSchema = z.object({
  contentType: z.optional(z.string()),
  contentEncoding: z.optional(z.string()),
  contentLanguage: z.optional(z.string()),
  contentDisposition: z.optional(z.string()),
  cacheControl: z.optional(z.string()),
  expires: z.optional(z.string()),
});
export type ContentHeaders = z.infer<typeof contentHeadersSchema>;

/** What a client says of an object besides its bytes. */
export const describedSchema = z.object({
  headers: contentHeadersSchema,
  /** x-amz-meta-*, names lower-case without the prefix. */
  metadata: z.record(z.string(), z.string()),
});
export type Described = z.infer<typeof describedSchema>;

/** Checksums that S3 clients may send beside MD5. */
export const checksumAlgorithmSchema = z.enum(["crc32", "crc32c", "crc64nvme", "sha1", "sha256"]);
export type ChecksumAlgorithm = z.infer<typeof checksumAlgorithmSchema>;

/** Of a multipart object: "full": over all bytes; "composite": over the checksums of its parts. */
export const checksumTypeSchema = z.enum(["full", "composite"]);

/** A checksum as S3 stores and shows it: base64, a composite one ends in "-<parts>". */
export const checksumSchema = z.object({
  algorithm: checksumAlgorithmSchema,
  type: checksumTypeSchema,
  value: z.string(),
});
export type Checksum = z.infer<typeof checksumSchema>;

/** What CreateMultipartUpload says of checksums to come. */
export const uploadChecksumSchema = z.object({
  algorithm: checksumAlgorithmSchema,
  type: checksumTypeSchema,
});
export type UploadChecksum = z.infer<typeof uploadChecksumSchema>;

/** A new state of an object, before the chain gives it a version and a time. */
export const newEntrySchema = z.extend(describedSchema, {
  /** Bytes. */
  size: count,
  /** Unquoted: hex MD5, or md5-of-md5s and part count. */
  etag: z.string(),
  /** The client's, verified before the commit; absent when it sent none. */
  checksum: z.optional(checksumSchema),
  body: bodyRefSchema,
});
export type NewEntry = z.infer<typeof newEntrySchema>;

/** A committed state of an object. */
export const entrySchema = z.extend(newEntrySchema, {
  /** The chain's version: grows by one with every commit. */
  version: count,
  /** Wall milliseconds, never behind the entry before. */
  lastModifiedMs: count,
});
export type Entry = z.infer<typeof entrySchema>;

/** Precondition of a write; evaluated inside the register operation. */
export const preconditionSchema = z.object({
  /** "*" or an unquoted ETag: the object must exist (with it). */
  ifMatch: z.optional(z.array(z.string())),
  /** "*" or unquoted ETags: the object must not exist (with one). */
  ifNoneMatch: z.optional(z.array(z.string())),
});
export type Precondition = z.infer<typeof preconditionSchema>;

/** State of one multipart upload, kept in its object's chain. */
export const uploadSchema = z.extend(describedSchema, {
  id: uploadIdSchema,
  checksum: z.optional(uploadChecksumSchema),
  /** Wall milliseconds. */
  initiatedMs: count,
});
export type Upload = z.infer<typeof uploadSchema>;

/** Value of a part's register. A part sent again gets another register; all are swept when the upload has ended. */
export const partSchema = z.object({
  size: count,
  etag: z.string(),
  /** Full. */
  checksum: z.optional(checksumSchema),
  lastModifiedMs: count,
  body: bodyRefSchema,
});
export type Part = z.infer<typeof partSchema>;

/** Value of a bucket's register in the system bucket. */
export const bucketSchema = z.object({
  name: z.string(),
  id: bucketIdSchema,
  /** Number of hash shards, fixed at creation. */
  shards: count,
  /** Wall milliseconds. */
  createdMs: count,
  /** Access key that made it. */
  owner: z.string(),
});
export type Bucket = z.infer<typeof bucketSchema>;

/** What an access key may do in a bucket: "write" includes "read", "owner" both. */
export const permissionSchema = z.enum(["read", "write", "owner"]);
export type Permission = z.infer<typeof permissionSchema>;

/** What an access key may do. */
export const grantsSchema = z.object({
  /** In every bucket, present and to come. */
  all: z.optional(permissionSchema),
  /** By bucket name, besides `all`. */
  buckets: z.record(z.string(), permissionSchema),
  /** May make buckets; it owns those that it makes. */
  createBuckets: z.boolean(),
});
export type Grants = z.infer<typeof grantsSchema>;

/** Value of an access key's register in the system bucket of keys. */
export const accessKeySchema = z.object({
  id: z.string(),
  /** The secret access key, sealed by shared/sealed-secret.ts under the cluster's key-encryption secret. */
  sealedSecret: z.string(),
  /** For people. */
  name: z.string(),
  grants: grantsSchema,
  /** Wall milliseconds. */
  createdMs: count,
  /** Wall milliseconds from which on it is refused. */
  expiresMs: z.optional(count),
  /** Wall milliseconds, exact to some minutes. */
  lastUsedMs: z.optional(count),
});
export type AccessKey = z.infer<typeof accessKeySchema>;

/** The system bucket that holds access keys: one shard, key = access key id. */
export const SYSTEM_KEYS = `${"0".repeat(31)}2` as BucketId;

/** The system bucket that holds settings of the cluster: one shard. */
export const SYSTEM_SETTINGS = `${"0".repeat(31)}3` as BucketId;

/** The system bucket that holds bucket records: one shard, key = bucket name. */
export const SYSTEM_BUCKETS = `${"0".repeat(31)}1` as BucketId;
