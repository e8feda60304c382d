// How fast a leading node changes views. All leaders of a cluster change theirs at the same time, and every change takes
// processors and disks from clients: where nobody is in need they come one at a time, with a rest in between.
// A slice that lacks members gets them at once, a few slices at a time, which share messages and syncs.
import { viewDecisionsMax } from "../../shared/limits.ts";
import { type Clock, type Timer } from "../ports.ts";

export class ChangePace {
  readonly #clock: Clock;
  readonly #restMs: number;
  readonly #urgent: (() => Promise<void>)[] = [];
  readonly #calm: (() => Promise<void>)[] = [];
  #running = false;
  /** When the next ones begin. */
  #next: Timer | undefined;

  /** @param restMs after a change that is not urgent */
  constructor(clock: Clock, restMs: number) {
    this.#clock = clock;
    this.#restMs = restMs;
  }

  /** Runs a change when it is its turn, urgent ones first, each kind in the order of arrival. Ends as the change does. */
  run(change: () => Promise<void>, urgent: boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    (urgent ? this.#urgent : this.#calm).push(async () => {
      try {
        resolve(await change());
      } catch (error) {
        reject(error);
      }
    });
    // Those that come in the same turn are of the same group.
    if (!this.#running && (urgent || !this.#next)) this.#runIn(0);
    return promise;
  }

  #runIn(ms: number): void {
    this.#next?.cancel();
    this.#next = this.#clock.after(ms, () => {
      this.#next = undefined;
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    const isUrgent = this.#urgent.length > 0;
    const group = isUrgent ? this.#urgent.splice(0, viewDecisionsMax) : this.#calm.splice(0, 1);
    if (group.length === 0) return;
    this.#running = true;
    await Promise.all(group.map((change) => change()));
    this.#running = false;
    // Also when none waits: the next one may come before the rest is over.
    this.#runIn(isUrgent || this.#urgent.length > 0 ? 0 : this.#restMs);
  }
}
