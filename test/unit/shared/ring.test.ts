import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type RingId } from "../../../shared/ids.ts";
import {
  advance,
  arcLength,
  arcShare,
  between,
  distance,
  RING_BITS,
  successorIndex,
  toBigInt,
  toRingId,
} from "../../../shared/ring.ts";

const SIZE = 1n << BigInt(RING_BITS);
const modulo = (value: bigint): bigint => ((value % SIZE) + SIZE) % SIZE;

/** Points that lie close together, or at the ends of the ring, more often than chance would have it. */
const point = fc.oneof(
  fc.bigInt({ min: 0n, max: SIZE - 1n }),
  fc.bigInt({ min: 0n, max: 8n }),
  fc.bigInt({ min: SIZE - 8n, max: SIZE - 1n }),
);

describe("toRingId", () => {
  test("32 digits, modulo 2^128, the inverse of toBigInt", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -3n * SIZE, max: 3n * SIZE }), (value) => {
        const id = toRingId(value);
        expect(id).toMatch(/^[0-9a-f]{32}$/u);
        expect(toBigInt(id)).toBe(modulo(value));
      }),
    );
  });

  test("string order is number order", () => {
    fc.assert(
      fc.property(point, point, (a, b) => {
        expect(toRingId(a) < toRingId(b)).toBe(a < b);
      }),
    );
  });
});

describe("between", () => {
  test("holds for what a walk clockwise from a meets before b (Zave 2016, section 2)", () => {
    fc.assert(
      fc.property(point, point, point, (a, x, b) => {
        const span = a === b ? SIZE : modulo(b - a);
        const step = modulo(x - a);
        expect(between(toRingId(a), toRingId(x), toRingId(b))).toBe(0n < step && step < span);
      }),
    );
  });

  test("the ends never lie between; the whole ring but a lies between a and a", () => {
    const [a, b] = [toRingId(5n), toRingId(9n)];
    expect(between(a, a, b)).toBe(false);
    expect(between(a, b, b)).toBe(false);
    expect(between(a, a, a)).toBe(false);
    expect(between(a, b, a)).toBe(true);
    expect(between(b, toRingId(0n), a)).toBe(true);
    expect(between(b, toRingId(7n), a)).toBe(false);
  });
});

describe("distance, arcLength, advance", () => {
  test("advance(from, distance(from, to)) is to", () => {
    fc.assert(
      fc.property(point, point, (from, to) => {
        const [a, b] = [toRingId(from), toRingId(to)];
        expect(distance(a, b)).toBe(modulo(to - from));
        expect(advance(a, distance(a, b))).toBe(b);
        expect(advance(b, -distance(a, b))).toBe(a);
        expect(arcLength(a, b)).toBe(from === to ? SIZE : modulo(to - from));
      }),
    );
  });

  test("the arcs of any ring add up to the whole of it", () => {
    fc.assert(
      fc.property(fc.uniqueArray(point, { minLength: 1, maxLength: 9 }), (points) => {
        const ids = points.map(toRingId).toSorted();
        const arcs = ids.map((id, i) => arcLength(ids.at(i - 1)!, id));
        expect(arcs.reduce((sum, arc) => sum + arc)).toBe(SIZE);
      }),
    );
  });

  test("arcShare: a half is 0.5, all is 1", () => {
    expect(arcShare(SIZE)).toBe(1);
    expect(arcShare(SIZE / 2n)).toBe(0.5);
    expect(arcShare(0n)).toBe(0);
  });
});

describe("successorIndex", () => {
  test("the first id at or after the point, else the first of all", () => {
    fc.assert(
      fc.property(fc.uniqueArray(point, { minLength: 1, maxLength: 20 }), point, (points, at) => {
        const sorted: RingId[] = points.map(toRingId).toSorted();
        const index = sorted.findIndex((id) => toBigInt(id) >= at);
        expect(successorIndex(sorted, toRingId(at))).toBe(index < 0 ? 0 : index);
        // The same by distance: no other id is nearer clockwise.
        const found = sorted[successorIndex(sorted, toRingId(at))]!;
        const steps = sorted.map((id) => modulo(toBigInt(id) - at));
        expect(steps.every((step) => step >= modulo(toBigInt(found) - at))).toBe(true);
      }),
    );
  });
});
