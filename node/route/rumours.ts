// Recent changes of the member table, each sent along with a bounded number of pings (SWIM's infection style: a change
// reaches n nodes in O(log n) rounds). Pure. Invariant: at most one entry a node, the newest.
import { type NodeId } from "../../shared/ids.ts";

/** Copies a change is sent in: 3 * log2(n + 1), which leaves out a node with odds below 1 in n^2. */
export function copiesFor(members: number): number {
  return 3 * Math.ceil(Math.log2(members + 1));
}

export class Rumours {
  /** Sends left, by node whose row changed. */
  readonly #left = new Map<NodeId, number>();

  /** Spreads the row of a node, from now on in its newest form. */
  add(id: NodeId, members: number): void {
    this.#left.set(id, copiesFor(members));
  }

  /** Up to `count` nodes whose rows ride on the next message: those sent least so far first. */
  take(count: number): NodeId[] {
    const chosen = [...this.#left.entries()].toSorted((a, b) => b[1] - a[1]).slice(0, count);
    for (const [id, left] of chosen) {
      if (left <= 1) this.#left.delete(id);
      else this.#left.set(id, left - 1);
    }
    return chosen.map(([id]) => id);
  }

  get size(): number {
    return this.#left.size;
  }
}
