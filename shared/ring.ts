// Arithmetic on the 128-bit ring. Ids are fixed-width hex strings, so `<` compares them as numbers.
import type { RingId } from "./ids.ts";

export const RING_BITS = 128;
const RING_SIZE = 1n << 128n;

export function toBigInt(id: RingId): bigint {
  return BigInt(`0x${id}`);
}

/** The ring id of `value` modulo 2^128. */
export function toRingId(value: bigint): RingId {
  const wrapped = ((value % RING_SIZE) + RING_SIZE) % RING_SIZE;
  return wrapped.toString(16).padStart(32, "0") as RingId;
}

/**
 * Whether x lies strictly inside the clockwise arc from a to b.
 * between(a, x, a) holds for every x other than a (Zave 2016, section 2).
 */
export function between(a: RingId, x: RingId, b: RingId): boolean {
  return a < b ? a < x && x < b : a < x || x < b;
}

/** Clockwise distance from `from` to `to`, 0 when they are equal. */
export function distance(from: RingId, to: RingId): bigint {
  return (toBigInt(to) - toBigInt(from) + RING_SIZE) % RING_SIZE;
}

/** Length of the arc that ends at `to`; a node alone on the ring owns all of it. */
export function arcLength(from: RingId, to: RingId): bigint {
  return from === to ? RING_SIZE : distance(from, to);
}

/** `id + offset` on the ring. */
export function advance(id: RingId, offset: bigint): RingId {
  return toRingId(toBigInt(id) + offset);
}

/** Share of the ring that an arc covers, 0..1. */
export function arcShare(length: bigint): number {
  return Number((length * 1_000_000_000n) / RING_SIZE) / 1_000_000_000;
}

/**
 * Index of the first id at or after `point` in a sorted list, wrapping to 0.
 * @param sorted ids in rising order, at least one
 */
export function successorIndex(sorted: readonly RingId[], point: RingId): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < point) low = middle + 1;
    else high = middle;
  }
  return low === sorted.length ? 0 : low;
}
