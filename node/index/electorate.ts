// Who has to agree with a leader: a majority of its view; while it hands over, a majority of the next view as well.
import { type VoterId } from "../../shared/ids.ts";
import { type IndexFaults } from "./faults.ts";
import { type Question, type Quorum, askQuorum } from "./quorum.ts";
import { majorityOf } from "./views.ts";

export interface ElectorateOptions extends Omit<Question<never>, "quorums" | "ask" | "missed"> {
  /** Of the leader's view. */
  readonly members: readonly VoterId[];
  readonly faults?: IndexFaults | undefined;
}

export class Electorate {
  readonly #options: ElectorateOptions;
  /** The first is that of the leader's view. */
  #quorums: readonly Quorum[];
  /** Questions that are not decided. */
  readonly #asking = new Set<Promise<unknown>>();

  constructor(options: ElectorateOptions) {
    this.#options = options;
    this.#quorums = [this.#quorumOf(options.members)];
  }

  /** Members of the leader's view that decide. */
  get needed(): number {
    return this.#quorums[0]!.needed;
  }

  /** Resolves with the first answers that are enough. Rejects with NotLeader when there won't be enough. */
  async ask<T extends { ok: true }>(
    question: Pick<Question<T>, "ask" | "missed">,
  ): Promise<Map<VoterId, T>> {
    const asking = askQuorum<T>({ ...this.#options, ...question, quorums: this.#quorums });
    this.#asking.add(asking);
    try {
      return await asking;
    } finally {
      this.#asking.delete(asking);
    }
  }

  /** From now on a majority of these has to agree as well. Resolves when all that was asked before is decided, or not. */
  async widen(members: readonly VoterId[]): Promise<void> {
    if (this.#options.faults?.noWidening !== true)
      this.#quorums = [this.#quorums[0]!, this.#quorumOf(members)];
    await Promise.allSettled(this.#asking);
  }

  #quorumOf(members: readonly VoterId[]): Quorum {
    const needed = this.#options.faults?.smallQuorum === true ? 1 : majorityOf(members.length);
    return { members, needed };
  }
}
