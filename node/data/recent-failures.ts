// Nodes that failed a copy or a read a moment ago: asked last for a while, whatever the member table says. The
// failure detector needs seconds; without this every upload would wait for the same stopped node.
import { type NodeId } from "../../shared/ids.ts";
import { nodeAvoidMs } from "../../shared/limits.ts";
import { type Clock } from "../ports.ts";

export class RecentFailures {
  readonly #clock: Clock;
  /** Node -> monotonic ms until which it counts. At most one entry a member. */
  readonly #untilMs = new Map<NodeId, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  note(node: NodeId): void {
    const now = this.#clock.monotonicMs();
    for (const [other, untilMs] of this.#untilMs) if (untilMs <= now) this.#untilMs.delete(other);
    this.#untilMs.set(node, now + nodeAvoidMs);
  }

  has(node: NodeId): boolean {
    const untilMs = this.#untilMs.get(node);
    return untilMs !== undefined && untilMs > this.#clock.monotonicMs();
  }
}
