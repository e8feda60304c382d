// Recent changes of the member table, each sent along with a bounded number of pings (SWIM's infection style: a change
// reaches n nodes in O(log n) rounds). Pure. Invariant: at most one entry a node, the newest.
import { type NodeId } from "../../shared/ids.ts";

/**
 * Copies that each node sends of a change. With k copies each, a share of e^-k never hears of it: ln n + 3 of them
 * leave out one node of all n with odds of 5 %, at any n, and the comparison of tables tells that one.
 */
export function copiesFor(members: number): number {
  return Math.ceil(Math.log(members + 1)) + 3;
}

export class Rumours {
  /** Sends left, by node whose row changed. */
  readonly #left = new Map<NodeId, number>();

  /** Spreads the row of a node, from now on in its newest form. */
  add(id: NodeId, members: number): void {
    this.#left.set(id, copiesFor(members));
  }

  /**
   * Up to `count` nodes whose rows ride on the next message: those sent least so far first.
   * @param known whose rows the receiver has just told; they are no news to it
   */
  take(count: number, known?: ReadonlySet<NodeId>): NodeId[] {
    if (this.#left.size === 0) return [];
    const news = [...this.#left.entries()].filter(([id]) => !known?.has(id));
    const chosen = news.toSorted((a, b) => b[1] - a[1]).slice(0, count);
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
