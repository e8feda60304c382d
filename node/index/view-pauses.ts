// How long slices stood still at changes of views: from the moment in which the leader that hands over stopped to the
// answer of the one that leads after it. Where no leader hands over, from the moment in which this node gave up its vote,
// or heard that others do, to its election in the next view.
import { viewPausesMax } from "../../shared/limits.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Clock } from "../ports.ts";

export interface PauseSummary {
  /** Pauses measured since the start; the figures are of the newest `viewPausesMax`. */
  readonly count: number;
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly longestMs: number;
}

export class ViewPauses {
  readonly #clock: Clock;
  /** Of each slice the newest change, and when it began; undefined once it was measured. */
  readonly #begun = new Map<Slice, { readonly epoch: number; readonly atMs: number | undefined }>();
  #samplesMs: number[] = [];
  #count = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The slice goes over to the view of this epoch, and nobody leads it until then, as far as this node knows. */
  began(slice: Slice, epoch: number): void {
    const begun = this.#begun.get(slice);
    if (begun && begun.epoch >= epoch) return;
    this.#begun.set(slice, { epoch, atMs: this.#clock.monotonicMs() });
  }

  /** The view has a leader. Only the first one there ends a pause. */
  ended(slice: Slice, epoch: number): void {
    const begun = this.#begun.get(slice);
    if (begun?.epoch !== epoch || begun.atMs === undefined) return;
    if (this.#samplesMs.length === viewPausesMax) this.#samplesMs.shift();
    this.#samplesMs.push(this.#clock.monotonicMs() - begun.atMs);
    this.#count++;
    this.#begun.set(slice, { epoch, atMs: undefined });
  }

  summary(): PauseSummary {
    const sorted = this.#samplesMs.toSorted((a, b) => a - b);
    const at = (share: number): number => {
      const sample = sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
      return Math.round(sample * 10) / 10;
    };
    return { count: this.#count, medianMs: at(0.5), p99Ms: at(0.99), longestMs: at(1) };
  }
}
