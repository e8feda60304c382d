// Counts elections and view changes by the ballots that messages carry: without a word from the nodes, so that any
// build is counted alike.
import { type Ballot, epochOf } from "../../shared/versions.ts";

/** Calls of a leader, under its ballot. */
const LEADERS: ReadonlySet<string> = new Set(["index.accept", "index.confirm", "index.readreg"]);

interface Claim {
  readonly slice: number;
  readonly ballot: Ballot;
}

export class ElectionsSeen {
  readonly #campaigns = new Set<string>();
  readonly #leaders = new Set<string>();
  /** Highest epoch seen of each slice. */
  readonly #epochs = new Map<number, number>();

  /** Takes note of a request that arrived. */
  see(name: string, request: unknown): void {
    if (name === "index.prepare") {
      for (const { slice, ballot } of (request as { claims: Claim[] }).claims)
        this.#campaigns.add(`${slice} ${ballot}`);
    } else if (LEADERS.has(name)) {
      const { slice, ballot } = request as Claim;
      const known = `${slice} ${ballot}`;
      if (this.#leaders.has(known)) return;
      this.#leaders.add(known);
      this.#epochs.set(slice, Math.max(this.#epochs.get(slice) ?? 1, epochOf(ballot)));
    }
  }

  /** Ballots that somebody asked votes for. */
  get campaigns(): number {
    return this.#campaigns.size;
  }

  /** Ballots that somebody led under. */
  get leaders(): number {
    return this.#leaders.size;
  }

  /** Views beyond the first in which a leader was seen. */
  get viewChanges(): number {
    let changes = 0;
    for (const epoch of this.#epochs.values()) changes += epoch - 1;
    return changes;
  }
}
