// Who may get a place in a view: nodes that are alive for a while, and keep it for a while when they are not. What a
// node sees of the member table changes at once; moving registers for every flap would cost more than it mends.
// Times are of this node's own monotonic clock.
import { type NodeId } from "../../shared/ids.ts";
import { type Clock } from "../ports.ts";
import { type Member } from "../route/types.ts";

interface Standing {
  /** Whether the node has a place. */
  eligible: boolean;
  up: boolean;
  /** Monotonic ms at which `up` became what it is. */
  sinceMs: number;
}

export interface EligibleNodesOptions {
  readonly clock: Clock;
  /** How long a node is alive before it gets places. */
  readonly joinAfterMs: number;
  /** How long a dead one keeps them. */
  readonly repairAfterMs: number;
}

export class EligibleNodes {
  readonly #options: EligibleNodesOptions;
  readonly #standings = new Map<NodeId, Standing>();
  #begun = false;
  #nextMs = 0;

  constructor(options: EligibleNodesOptions) {
    this.#options = options;
  }

  /** Monotonic ms at which time alone may change the answer; Infinity when it cannot. */
  get nextMs(): number {
    return this.#nextMs;
  }

  /** Takes note of the table and answers who is eligible, in its order. Whom it shows at first are, whatever they do. */
  of(members: readonly Member[]): Member[] {
    const now = this.#options.clock.monotonicMs();
    this.#nextMs = Infinity;
    const known = new Set<NodeId>();
    const eligible = members.filter((member) => {
      known.add(member.id);
      return this.#isEligible(member, now);
    });
    for (const id of this.#standings.keys()) if (!known.has(id)) this.#standings.delete(id);
    this.#begun = true;
    return eligible;
  }

  #isEligible({ id, state }: Member, now: number): boolean {
    if (state === "left") {
      this.#standings.delete(id);
      return false;
    }
    const up = state !== "dead";
    let standing = this.#standings.get(id);
    if (!standing) {
      standing = { eligible: !this.#begun, up, sinceMs: now };
      this.#standings.set(id, standing);
    }
    if (standing.up !== up) {
      standing.up = up;
      standing.sinceMs = now;
    }
    const { joinAfterMs, repairAfterMs } = this.#options;
    const dueMs = standing.sinceMs + (up ? joinAfterMs : repairAfterMs);
    if (standing.eligible === up) return up;
    if (now >= dueMs) standing.eligible = up;
    else this.#nextMs = Math.min(this.#nextMs, dueMs);
    return standing.eligible;
  }
}
