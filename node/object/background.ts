// Work that a client need not wait for: late pointers, clean-up of staged blocks and of parts. Bounded; whatever is
// dropped or fails here is found again by leases, the chain checker or the garbage in the chain.
import { backgroundTasksMax, backgroundWaitingMax } from "../../shared/limits.ts";
import { type Log } from "../ports.ts";

interface Task {
  readonly what: string;
  readonly run: () => Promise<unknown>;
}

export class Background {
  readonly #log: Log;
  readonly #waiting: Task[] = [];
  readonly #running = new Set<Promise<void>>();
  #stopped = false;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Runs a task soon; failures are logged. After stop(), or when too many wait, it is dropped. */
  run(what: string, run: () => Promise<unknown>): void {
    if (this.#stopped) return;
    if (this.#waiting.length >= backgroundWaitingMax) {
      this.#log.warn("Background task dropped: too many wait", { what });
      return;
    }
    this.#waiting.push({ what, run });
    this.#pump();
  }

  /** Resolves when nothing runs or waits. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** Takes no more tasks, drops those that wait, and resolves when the running ones have ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#waiting.length = 0;
    await this.settled();
  }

  #pump(): void {
    while (this.#running.size < backgroundTasksMax) {
      const task = this.#waiting.shift();
      if (!task) return;
      const running = this.#perform(task).then(() => {
        this.#running.delete(running);
        this.#pump();
      });
      this.#running.add(running);
    }
  }

  async #perform(task: Task): Promise<void> {
    try {
      await task.run();
    } catch (error) {
      this.#log.warn("Background task failed", { what: task.what, error: String(error) });
    }
  }
}
