// The coordinator's side of leader calls: finds a slice's leader, and the next member when it does not answer.
// One request id goes with all attempts, so an operation whose answer was lost is not done twice.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId, nodeOfVoter } from "../../shared/ids.ts";
import { electionBackoffMs, operationDeadlineMs } from "../../shared/limits.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Chance, type Clock, TransportError } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { NotLeader } from "./quorum.ts";
import { type View } from "./views.ts";

export type LeaderReply<T> =
  | ({ readonly type: "done" } & T)
  | { readonly type: "notLeader"; readonly leader?: string | undefined };

export interface ExecutorOptions {
  readonly clock: Clock;
  readonly chance: Chance;
  readonly route: Pick<Route, "find" | "observed" | "self">;
  readonly viewOf: (slice: Slice) => View;
}

export class Executor {
  readonly #options: ExecutorOptions;
  readonly #hints = new Map<Slice, NodeId>();

  constructor(options: ExecutorOptions) {
    this.#options = options;
  }

  /** The node that answered last as leader of a slice. */
  hint(slice: Slice): NodeId | undefined {
    return this.#hints.get(slice);
  }

  /**
   * Asks the slice's leader, and other members when it is gone, until one answers as leader.
   * `ask` throws TransportError when no answer came and RingstowError when the operation was refused. It is told
   * whether another member did not answer of late (`urge`), and whether any attempt of this call went without an
   * answer, so that it may still be carried out (`again`).
   * Throws Unavailable after `operationDeadlineMs`: the outcome is unknown.
   */
  async ask<T>(
    slice: Slice,
    ask: (node: NodeId, urge: boolean, again: boolean) => Promise<LeaderReply<T>>,
  ): Promise<T> {
    const { clock, chance, route } = this.#options;
    const deadline = clock.monotonicMs() + operationDeadlineMs;
    const failed = new Set<NodeId>();
    let again = false;
    let next = this.#hints.get(slice);
    for (let attempt = 1; ; attempt++) {
      const target: NodeId = next ?? this.#candidate(slice, failed);
      next = undefined;
      try {
        const reply = await ask(target, failed.size > 0, again);
        if (reply.type === "done") {
          this.#hints.set(slice, target);
          return reply;
        }
        const leader = reply.leader as NodeId | undefined;
        if (leader !== undefined && leader !== target && !failed.has(leader)) {
          next = leader;
          // Members may point at each other while an election goes on: pause now and then.
          if (attempt % 4 !== 0) continue;
        }
      } catch (error) {
        if (error instanceof TransportError) {
          again = true;
          failed.add(target);
          route.observed(target, false);
          if (failed.size < this.#members(slice).length) continue;
          failed.clear();
        } else if (!(error instanceof NotLeader)) throw error;
      }
      this.#hints.delete(slice);
      if (clock.monotonicMs() > deadline) break;
      const pauseMs = electionBackoffMs * Math.min(attempt, 4) * (0.5 + chance.fraction());
      await new Promise<void>((resume) => void clock.after(pauseMs, resume));
    }
    throw new RingstowError("Unavailable", "No leader of the object's slice answers");
  }

  #members(slice: Slice): readonly NodeId[] {
    return this.#options.viewOf(slice).members.map(nodeOfVoter);
  }

  /** The first member that did not fail, live ones first. */
  #candidate(slice: Slice, failed: ReadonlySet<NodeId>): NodeId {
    const members = this.#members(slice).filter((node) => !failed.has(node));
    const live = members.find((node) => {
      const state = this.#options.route.find(node)?.state;
      return state === "alive" || state === "suspect";
    });
    return live ?? members[0] ?? this.#members(slice)[0]!;
  }
}
