// How long replicas took to send their head lately: the hedge delay of reads.
import {
  callTimeoutMs,
  headSampleMs,
  headSamplesMax,
  hedgeDelayMinMs,
} from "../../shared/limits.ts";
import { type Clock } from "../ports.ts";

/** Waits of the last minute, newest `headSamplesMax` of them. */
export class HeadTimes {
  readonly #clock: Clock;
  #samples: { atMs: number; tookMs: number }[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(tookMs: number): void {
    if (this.#samples.length >= headSamplesMax) this.#samples.shift();
    this.#samples.push({ atMs: this.#clock.monotonicMs(), tookMs });
  }

  /** The 95th percentile, between `hedgeDelayMinMs` and `callTimeoutMs`: slow replicas do not make others wait longer. */
  hedgeDelayMs(): number {
    const oldest = this.#clock.monotonicMs() - headSampleMs;
    this.#samples = this.#samples.filter((sample) => sample.atMs >= oldest);
    if (this.#samples.length === 0) return hedgeDelayMinMs;
    const sorted = this.#samples.map((sample) => sample.tookMs).toSorted((a, b) => a - b);
    const late = sorted[Math.ceil(sorted.length * 0.95) - 1]!;
    return Math.min(callTimeoutMs, Math.max(hedgeDelayMinMs, late));
  }
}
