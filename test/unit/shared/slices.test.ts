import fc from "fast-check";
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { parseBucketId, parseLogicalId } from "../../../shared/ids.ts";
import { toBigInt, toRingId } from "../../../shared/ring.ts";
import {
  anchorOf,
  logicalIdOf,
  shardOf,
  type Slice,
  sliceOfId,
  sliceOfKey,
  sliceOfShard,
  slicesOfBucket,
} from "../../../shared/slices.ts";

const sliceBits = fc.integer({ min: 4, max: 16 });
const bucket = fc
  .bigInt({ min: 0n, max: (1n << 128n) - 1n })
  .map((n) => parseBucketId(n.toString(16).padStart(32, "0")));
const key = fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 });

describe("anchorOf and sliceOfId", () => {
  test("a slice's anchor is its first id; the id before belongs to the slice before", () => {
    fc.assert(
      fc.property(sliceBits, fc.nat(65_535), (bits, n) => {
        const slice = (n % 2 ** bits) as Slice;
        const anchor = anchorOf(slice, bits);
        expect(toBigInt(anchor)).toBe(BigInt(slice) << BigInt(128 - bits));
        expect(sliceOfId(anchor, bits)).toBe(slice);
        const before = toRingId(toBigInt(anchor) - 1n);
        expect(sliceOfId(before, bits)).toBe((slice + 2 ** bits - 1) % 2 ** bits);
      }),
    );
  });

  test("any id lies in the slice that its upper bits name", () => {
    fc.assert(
      fc.property(sliceBits, fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), (bits, id) => {
        expect(sliceOfId(toRingId(id), bits)).toBe(Number(id >> BigInt(128 - bits)));
      }),
    );
  });
});

describe("logicalIdOf", () => {
  test("64 bits of SHA-256 of the shard, then of the key", () => {
    const id = parseBucketId("0123456789abcdef".repeat(2));
    const half = (text: string): string =>
      createHash("sha256").update(text).digest("hex").slice(0, 16);
    const shard = Number.parseInt(half(`${id}/ключ`).slice(0, 8), 16) % 16;
    expect(shardOf(id, "ключ", 16)).toBe(shard);
    expect(logicalIdOf(id, "ключ", 16)).toBe(half(`${id}#${shard}`) + half(`${id}/ключ`));
  });

  test("is an id in the slice of its shard, one of the bucket's slices", () => {
    fc.assert(
      fc.property(
        bucket,
        key,
        fc.integer({ min: 1, max: 64 }),
        sliceBits,
        (id, name, shards, bits) => {
          const shard = shardOf(id, name, shards);
          expect(shard).toBeGreaterThanOrEqual(0);
          expect(shard).toBeLessThan(shards);
          const logicalId = logicalIdOf(id, name, shards);
          expect(parseLogicalId(logicalId)).toBe(logicalId);
          const slice = sliceOfId(logicalId, bits);
          expect(sliceOfShard(id, shard, bits)).toBe(slice);
          expect(sliceOfKey(id, name, shards, bits)).toBe(slice);
          expect(slicesOfBucket(id, shards, bits)).toContain(slice);
        },
      ),
      { numRuns: 50 },
    );
  });

  test("spreads keys over all shards", () => {
    const id = parseBucketId("7".repeat(32));
    const counts = Array.from({ length: 16 }, () => 0);
    for (let i = 0; i < 3_200; i++) counts[shardOf(id, `key ${i}`, 16)]!++;
    expect(Math.min(...counts)).toBeGreaterThan(140);
    expect(Math.max(...counts)).toBeLessThan(260);
  });
});

test("slicesOfBucket: distinct and rising, at most one a shard", () => {
  fc.assert(
    fc.property(bucket, fc.integer({ min: 1, max: 32 }), (id, shards) => {
      const slices = slicesOfBucket(id, shards, 4);
      expect(slices).toEqual([...new Set(slices)].toSorted((a, b) => a - b));
      expect(slices.length).toBeLessThanOrEqual(Math.min(shards, 16));
      for (let shard = 0; shard < shards; shard++) {
        expect(slices).toContain(sliceOfShard(id, shard, 4));
      }
    }),
    { numRuns: 30 },
  );
});
