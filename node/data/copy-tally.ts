// What is known of the copies of one upload: expected, durable, failed. A node that is durable stays so.
import { type NodeId } from "../../shared/ids.ts";
import { type CopyReport } from "../../shared/protocol/data.ts";

export class CopyTally {
  /** In the order in which they became durable. */
  readonly durable: NodeId[] = [];
  /** Nodes that failed by themselves: not asked again for this block. */
  readonly blamed = new Set<NodeId>();
  /** Why copies failed, the latest of each node. */
  readonly reasons = new Map<NodeId, string>();
  readonly #pending = new Set<NodeId>();
  #waiters: (() => void)[] = [];

  /** Copies are on the way to these nodes. */
  expect(nodes: readonly NodeId[]): void {
    for (const node of nodes) this.#pending.add(node);
  }

  report(report: CopyReport): void {
    if (!this.#pending.delete(report.node)) return;
    if (report.type === "durable") this.durable.push(report.node);
    else {
      this.reasons.set(report.node, report.reason);
      if (report.blame) this.blamed.add(report.node);
    }
    this.wake();
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** Nodes that were tried and are not known to have the copy. They may have it all the same. */
  unknown(): NodeId[] {
    return [...this.reasons.keys()].filter((node) => !this.durable.includes(node));
  }

  /** Resolves once the predicate holds; it is asked again after every report and wake(). */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }
}
