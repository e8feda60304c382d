// Where the registers of buckets, access keys, objects and parts live. An object's chain and the parts of its uploads share a
// slice, so one leader decides about all of them.
import { RingstowError } from "../../shared/errors.ts";
import { type BucketId, type UploadId } from "../../shared/ids.ts";
import { keyBytesMax, partNumberMax } from "../../shared/limits.ts";
import { type BucketRef } from "../../shared/object-service.ts";
import { SYSTEM_BUCKETS, SYSTEM_KEYS } from "../../shared/records.ts";
import { type Slice, sliceOfKey, sliceOfShard, slicesOfBucket } from "../../shared/slices.ts";
import { prefixEnd, utf8Length } from "../../shared/utf8.ts";
import {
  type RegisterAddress,
  type RegisterKey,
  bucketOf,
  nameOf,
  registerKey,
} from "../index/types.ts";

/** Keys from (inclusive) to (exclusive), UTF-8 byte order. */
export interface KeyRange {
  readonly from: RegisterKey;
  readonly to: RegisterKey;
}

/** An object's chain. Throws InvalidRequest for a key that no store can hold. */
export function objectAddress(bucket: BucketRef, key: string, sliceBits: number): RegisterAddress {
  if (key === "" || key.includes("\0") || !key.isWellFormed() || utf8Length(key) > keyBytesMax) {
    throw new RingstowError("InvalidRequest", "Cannot use the key: empty, too long, or no text");
  }
  return {
    slice: sliceOfKey(bucket.id, key, bucket.shards, sliceBits),
    key: registerKey("object", bucket.id, key),
  };
}

export function bucketAddress(name: string, sliceBits: number): RegisterAddress {
  return {
    slice: sliceOfShard(SYSTEM_BUCKETS, 0, sliceBits),
    key: registerKey("bucket", SYSTEM_BUCKETS, name),
  };
}

export function accessKeyAddress(id: string, sliceBits: number): RegisterAddress {
  return {
    slice: sliceOfShard(SYSTEM_KEYS, 0, sliceBits),
    key: registerKey("accessKey", SYSTEM_KEYS, id),
  };
}

/** The gates of a bucket, one in each of its slices. */
export function gateAddresses(bucket: BucketRef, sliceBits: number): RegisterAddress[] {
  const key = registerKey("gate", bucket.id, "");
  return slicesOfBucket(bucket.id, bucket.shards, sliceBits).map((slice) => ({ slice, key }));
}

/** All registers of a kind in a bucket whose raw key starts with `prefix`. */
export function rangeOf(
  kind: "object" | "bucket" | "accessKey",
  bucket: BucketId,
  prefix: string,
): KeyRange {
  const from = registerKey(kind, bucket, prefix);
  return { from, to: prefixEnd(from) as RegisterKey };
}

/** The least register key above `key`: no raw key holds NUL, so U+0001 is the least that can follow. */
export function justAfter(key: RegisterKey): RegisterKey {
  return `${key}\u0001` as RegisterKey;
}

// ---------------------------------------------------------------- parts

/** The register of one sending of a part, in the slice of its object. */
export function partAddress(
  object: RegisterAddress,
  uploadId: UploadId,
  partNumber: number,
  attempt: string,
): RegisterAddress {
  return {
    slice: object.slice,
    key: registerKey("part", bucketOf(object.key), `${uploadId}/${padded(partNumber)}/${attempt}`),
  };
}

/** All parts of an upload with a number above `after`. */
export function partRange(object: RegisterAddress, uploadId: UploadId, after = 0): KeyRange {
  const bucket = bucketOf(object.key);
  return {
    from: registerKey("part", bucket, `${uploadId}/${padded(after + 1)}`),
    to: registerKey("part", bucket, `${uploadId}0`), // "0" follows "/"
  };
}

/** What a part's register key says. */
export function partOfKey(key: RegisterKey): { partNumber: number; attempt: string } {
  const [, number, attempt] = nameOf(key).split("/");
  return { partNumber: Number(number), attempt: attempt! };
}

/** Throws InvalidRequest outside 1..10,000. */
export function checkPartNumber(partNumber: number): void {
  if (!Number.isInteger(partNumber) || partNumber < 1 || partNumber > partNumberMax) {
    throw new RingstowError(
      "InvalidRequest",
      `Cannot use part number ${partNumber}: not within 1 to ${partNumberMax}`,
    );
  }
}

/** Slices that hold a bucket's chains. */
export function bucketSlices(bucket: BucketRef, sliceBits: number): Slice[] {
  return slicesOfBucket(bucket.id, bucket.shards, sliceBits);
}

function padded(partNumber: number): string {
  return String(partNumber).padStart(5, "0");
}
