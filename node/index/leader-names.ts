// The names of all registers of a slice by a majority's word: a key that none of them named is settled absent, so that
// creating it needs no read. Bounded: with too many names the leader knows none, and every first touch reads.
import { leaderNamesMax } from "../../shared/limits.ts";
import { type VoterId } from "../../shared/ids.ts";
import { type NamesReply } from "./replica-replies.ts";

export class LeaderNames {
  /** Complete; undefined: not known yet, or too many. */
  #names: Set<string> | undefined;
  /** Keys written before the names were complete; undefined: too many. */
  #written: Set<string> | undefined = new Set();
  readonly #most: number;

  /** @param names what the promises named; undefined: not known yet */
  constructor(names: ReadonlySet<string> | undefined, most = leaderNamesMax) {
    this.#names = names && new Set(names);
    this.#most = most;
  }

  /** All names; undefined when they are not known. */
  get all(): ReadonlySet<string> | undefined {
    return this.#names;
  }

  /** Whether a majority promised without the key, and it was not written since. */
  lack(key: string): boolean {
    return this.#names !== undefined && !this.#names.has(key);
  }

  /** From now on the key counts as one that exists: the outcome of its write may stay unknown. */
  add(key: string): void {
    const names = this.#names ?? this.#written;
    names?.add(key);
    if (!names || names.size <= this.#most) return;
    this.#names = undefined;
    this.#written = undefined;
  }

  /** Reads the names under the leader's ballot from the members, until `quorum` of them told all theirs. */
  async load(
    members: readonly VoterId[],
    quorum: number,
    page: (member: VoterId, after: string) => Promise<NamesReply>,
    isOver: () => boolean,
  ): Promise<void> {
    const found = new Set<string>();
    let complete = 0;
    const loadFrom = async (member: VoterId): Promise<void> => {
      for (let after = ""; ;) {
        const reply = await page(member, after);
        if (!reply.ok || isOver()) return;
        for (const key of reply.keys) found.add(key);
        if (found.size > this.#most) return;
        if (!reply.more) break;
        after = reply.keys.at(-1)!;
      }
      if (++complete < quorum || this.#names || !this.#written) return;
      for (const key of this.#written) found.add(key);
      this.#names = found;
    };
    await Promise.all(members.map(loadFrom));
  }
}
