// Names to logical ids, logical ids to slices. A slice is one of 2^bits equal pieces of the id space.
import { type BucketId, type LogicalId, type RingId } from "./ids.ts";
import { sha256Hex } from "./sha256.ts";

/** Number of a slice, 0 .. 2^sliceBits - 1. */
export type Slice = number & { readonly slice: true };

/** 16 hex digits. */
function hash64(text: string): string {
  return sha256Hex(text).slice(0, 16);
}

/** Which of a bucket's `shards` hash shards holds a key. */
export function shardOf(bucket: BucketId, key: string, shards: number): number {
  return shards === 1 ? 0 : shardOfHalf(hash64(`${bucket}/${key}`), shards);
}

function shardOfHalf(keyHalf: string, shards: number): number {
  return Number.parseInt(keyHalf.slice(0, 8), 16) % shards;
}

/** Upper half of the logical id of all keys in a shard. 16 hex digits. */
function shardHalf(bucket: BucketId, shard: number): string {
  return hash64(`${bucket}#${shard}`);
}

/** The 128-bit logical id of a key: 64 bits from (bucket, shard), 64 bits from (bucket, key). */
export function logicalIdOf(bucket: BucketId, key: string, shards: number): LogicalId {
  const keyHalf = hash64(`${bucket}/${key}`);
  return (shardHalf(bucket, shardOfHalf(keyHalf, shards)) + keyHalf) as LogicalId;
}

/** The slice of a shard, and so of every key in it. */
export function sliceOfShard(bucket: BucketId, shard: number, sliceBits: number): Slice {
  return (Number.parseInt(shardHalf(bucket, shard).slice(0, 8), 16) >>> (32 - sliceBits)) as Slice;
}

/** The slice that a ring position falls into. */
export function sliceOfId(id: RingId, sliceBits: number): Slice {
  return (Number.parseInt(id.slice(0, 8), 16) >>> (32 - sliceBits)) as Slice;
}

/** The slice of a key. */
export function sliceOfKey(
  bucket: BucketId,
  key: string,
  shards: number,
  sliceBits: number,
): Slice {
  return sliceOfShard(bucket, shardOf(bucket, key, shards), sliceBits);
}

/** First ring position of a slice: slice * 2^(128 - sliceBits). */
export function anchorOf(slice: Slice, sliceBits: number): RingId {
  const top = ((slice << (32 - sliceBits)) >>> 0).toString(16).padStart(8, "0");
  return (top + "0".repeat(24)) as RingId;
}

/** The distinct slices of a bucket's shards, in rising order (two shards may share one). */
export function slicesOfBucket(bucket: BucketId, shards: number, sliceBits: number): Slice[] {
  const found = new Set<Slice>();
  for (let shard = 0; shard < shards; shard++) found.add(sliceOfShard(bucket, shard, sliceBits));
  return [...found].toSorted((a, b) => a - b);
}
