// Fingers (Stoica 2001, section 4.3): of each distance 2^k the first node at or beyond it, so that a step of a lookup
// at least halves the way. Pure. Taken from the ids this node knows; they only guide, the ring decides.
import { type NodeId, type RingId } from "../../shared/ids.ts";
import { advance, between, distance, RING_BITS } from "../../shared/ring.ts";

/**
 * The distinct fingers of a node, nearest first.
 * @param ownerOf the first known node at or after a point
 */
export function fingersOf(self: NodeId, ownerOf: (point: RingId) => NodeId): NodeId[] {
  const fingers: NodeId[] = [];
  const nearest = ownerOf(advance(self, 1n));
  if (nearest === self) return fingers;
  const gap = distance(self, nearest);
  for (let bit = RING_BITS - 1; bit >= 0; bit--) {
    const offset = 1n << BigInt(bit);
    if (offset < gap) break; // all nearer fingers are the successor
    const finger = ownerOf(advance(self, offset));
    if (finger !== self && finger !== fingers.at(-1)) fingers.push(finger);
  }
  if (fingers.at(-1) !== nearest) fingers.push(nearest);
  return fingers.toReversed();
}

/** Whether x lies on the clockwise arc from a (exclusive) to b (inclusive). */
export function inArc(a: RingId, x: RingId, b: RingId): boolean {
  return x === b || between(a, x, b);
}

/**
 * Whom to ask next about a point, best first, at most `count`: the owner when a successor list shows it, else the
 * nearest known nodes before the point. All lie clockwise between this node and the point, or just behind the point.
 */
export function nextHops(
  self: NodeId,
  successors: readonly NodeId[],
  fingers: readonly NodeId[],
  point: RingId,
  count: number,
): NodeId[] {
  const owner = successors.findIndex((id, index) =>
    inArc(index === 0 ? self : successors[index - 1]!, point, id),
  );
  if (owner >= 0) return successors.slice(owner, owner + count);
  const before = [...new Set([...fingers, ...successors])].filter((id) => between(self, id, point));
  return before
    .toSorted((a, b) => (distance(a, point) < distance(b, point) ? -1 : 1))
    .slice(0, count);
}
