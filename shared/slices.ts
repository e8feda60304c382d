// Names to logical ids, logical ids to slices. A slice is one of 2^bits equal pieces of the id space.
import { sha256 } from "@noble/hashes/sha2.js";
import { type BucketId, type LogicalId, type RingId, toHex } from "./ids.ts";

/** Number of a slice, 0 .. 2^sliceBits - 1. */
export type Slice = number & { readonly slice: true };

const encoder = new TextEncoder();

function hash64(text: string): Uint8Array {
  return sha256(encoder.encode(text)).subarray(0, 8);
}

/** Which of a bucket's `shards` hash shards holds a key. */
export function shardOf(bucket: BucketId, key: string, shards: number): number {
  if (shards === 1) return 0;
  const digest = hash64(`${bucket}/${key}`);
  return (
    (((digest[0]! << 24) | (digest[1]! << 16) | (digest[2]! << 8) | digest[3]!) >>> 0) % shards
  );
}

/** Upper half of the logical id of all keys in a shard. 16 hex digits. */
function shardHalf(bucket: BucketId, shard: number): string {
  return toHex(hash64(`${bucket}#${shard}`));
}

/** The 128-bit logical id of a key: 64 bits from (bucket, shard), 64 bits from (bucket, key). */
export function logicalIdOf(bucket: BucketId, key: string, shards: number): LogicalId {
  const shard = shardOf(bucket, key, shards);
  return (shardHalf(bucket, shard) + toHex(hash64(`${bucket}/${key}`))) as LogicalId;
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
