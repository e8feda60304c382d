// How long calls took, how they ended, and for how long no write was acknowledged.
export interface Gap {
  readonly atMs: number;
  readonly ms: number;
  /** What was going on from its beginning to its end. */
  readonly during: string;
}

const isWrite = (kind: string): boolean => kind.startsWith("put") || kind === "delete";

export class Timings {
  /** Ends of calls by kind and outcome. */
  readonly counts = new Map<string, number>();
  /** Times without an acknowledged write that passed `gapMs`. */
  readonly gaps: Gap[] = [];
  /** What is going on, for the gaps. */
  during = "nothing";
  #duringAck = "nothing";
  readonly #tookMs = new Map<string, number[]>();
  readonly #gapMs: number;
  #lastAckMs: number | undefined;

  constructor(gapMs = 500) {
    this.#gapMs = gapMs;
  }

  begin(): void {
    this.#lastAckMs = performance.now();
  }

  end(): void {
    this.#acknowledged(performance.now());
    this.#lastAckMs = undefined;
  }

  ended(kind: string, outcome: string, startedMs: number): void {
    const name = `${kind} ${outcome}`;
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    if (outcome !== "ok" && outcome !== "refused") return;
    const now = performance.now();
    const took = this.#tookMs.get(kind) ?? [];
    this.#tookMs.set(kind, took);
    took.push(now - startedMs);
    if (outcome === "ok" && isWrite(kind)) this.#acknowledged(now);
  }

  total(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0);
  }

  longestGap(): Gap | undefined {
    return this.gaps.toSorted((a, b) => b.ms - a.ms)[0];
  }

  /** Milliseconds by kind, of calls that were answered. */
  latencies(): [string, { p50: number; p99: number; most: number }][] {
    return [...this.#tookMs]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([kind, took]) => [
        kind,
        { p50: quantile(took, 0.5), p99: quantile(took, 0.99), most: quantile(took, 1) },
      ]);
  }

  #acknowledged(now: number): void {
    if (this.#lastAckMs === undefined) return;
    const ms = now - this.#lastAckMs;
    if (ms > this.#gapMs) {
      const during = [...new Set([this.#duringAck, this.during])].join(", then ");
      this.gaps.push({ atMs: this.#lastAckMs, ms, during });
    }
    this.#lastAckMs = now;
    this.#duringAck = this.during;
  }
}

/** The least value that a share of all does not pass; 0 of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
}
