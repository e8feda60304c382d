// Where on the ring a new node should come: the middle of the largest gap, so that arcs stay even without virtual
// nodes. Pure.
import { type NodeId, type RingId } from "../../shared/ids.ts";
import { advance, arcLength, successorIndex } from "../../shared/ring.ts";

/** A stretch without nodes; `owner` is the live node at or after its end. */
export interface Gap {
  readonly from: RingId;
  readonly length: bigint;
  readonly owner: NodeId;
}

/** All gaps, the largest first. @param live by rising id; `pending`: ids granted and not joined yet */
export function gapsOf(live: readonly NodeId[], pending: readonly NodeId[]): Gap[] {
  const points = [...new Set([...live, ...pending])].toSorted();
  const gaps = points.map((to, index) => {
    const from = points[(index + points.length - 1) % points.length]!;
    return { from, length: arcLength(from, to), owner: live[successorIndex(live, to)]! };
  });
  return gaps.toSorted((a, b) => (a.length < b.length ? 1 : a.length > b.length ? -1 : 0));
}

/**
 * The gap a grant should halve: the largest, unless its owner was asked already and sent the joiner on; then the
 * asked one's pending grants have made it smaller than it looks from here.
 */
export function chooseGap(gaps: readonly Gap[], self: NodeId, asked: ReadonlySet<NodeId>): Gap {
  const open = gaps.find((gap) => gap.owner === self || !asked.has(gap.owner));
  return open ?? gaps[0]!;
}

/**
 * The middle of a gap, its low 64 bits random, so that two owners with different views do not grant the same id.
 * @param random 64 bits
 */
export function middleOf(gap: Gap, random: bigint): NodeId {
  const middle = advance(gap.from, gap.length / 2n);
  // In a gap this narrow random low bits might lead out of it.
  if (gap.length < 1n << 66n) return middle as NodeId;
  return (middle.slice(0, 16) + random.toString(16).padStart(16, "0")) as NodeId;
}
