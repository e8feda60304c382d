// How fast a leading node changes views. A few slices at a time share their messages and syncs; and as all nodes of a
// cluster change views at the same time, it rests in between while changes wait for each other.
// Found out as TCP Vegas does (Brakmo and Peterson, 1995): as long as changes take little longer than the quickest ones
// lately there are more of them, else fewer.
import {
  viewDecisionsMax,
  viewPaceGoal,
  viewPaceMs,
  viewPaceSamples,
  viewRestMaxMs,
  viewShareMin,
} from "../../shared/limits.ts";
import { type Clock } from "../ports.ts";

export class ChangePace {
  readonly #clock: Clock;
  /** Each tells whether its change came about. */
  readonly #waiting: (() => Promise<boolean>)[] = [];
  /** What the latest groups took. */
  readonly #tookMs: number[] = [];
  #running = false;
  #share = viewShareMin;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs a change when it is its turn, in the order of arrival. Ends as the change does. */
  run(change: () => Promise<void>): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push(async () => {
      try {
        resolve(await change());
        return true;
      } catch (error) {
        reject(error);
        return false;
      }
    });
    if (!this.#running) {
      this.#running = true;
      // Those that come in the same turn are of the same group.
      this.#runGroupIn(0);
    }
    return promise;
  }

  #runGroupIn(ms: number): void {
    this.#clock.after(ms, () => void this.#runGroup());
  }

  async #runGroup(): Promise<void> {
    const group = this.#waiting.splice(0, viewDecisionsMax);
    if (group.length === 0) {
      this.#running = false;
      return;
    }
    const begunMs = this.#clock.monotonicMs();
    const cameAbout = await Promise.all(group.map((change) => change()));
    const tookMs = this.#clock.monotonicMs() - begunMs;
    if (cameAbout.includes(true)) this.#learn(tookMs);
    this.#runGroupIn(Math.min(viewRestMaxMs, tookMs * (1 / this.#share - 1)));
  }

  #learn(tookMs: number): void {
    this.#tookMs.push(tookMs);
    if (this.#tookMs.length > viewPaceSamples) this.#tookMs.shift();
    const goalMs = viewPaceGoal * Math.min(...this.#tookMs) + viewPaceMs;
    this.#share =
      tookMs <= goalMs ? Math.min(1, this.#share * 1.1) : Math.max(viewShareMin, this.#share * 0.8);
  }
}
