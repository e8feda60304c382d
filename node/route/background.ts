// Work of a driver that nobody awaits: counted, so that stop() can wait for its end, and its faults reach the log.
import { type Log } from "../ports.ts";

export class Background {
  readonly #log: Log;
  readonly #running = new Set<Promise<void>>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Starts some work. It should handle expected failures itself; what it throws is logged as a fault. */
  run(what: string, work: () => Promise<void>): void {
    const task: Promise<void> = work()
      .catch((error: unknown) => this.#log.error("Background work failed", { what, error }))
      .finally(() => this.#running.delete(task));
    this.#running.add(task);
  }

  /** Resolves when everything started so far, and what it started, has ended. */
  async ended(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}
