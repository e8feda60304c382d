// Whether the process of a simulated node runs: what comes in waits while it is paused, and for ever once it died.

export class ProcessGate {
  #state: "running" | "paused" | "dead" = "running";
  #waiting: (() => void)[] = [];

  /** Resolves while the process runs; when it is paused, at its resume; when it is dead, never. */
  pass(): Promise<void> {
    if (this.#state === "running") return Promise.resolve();
    if (this.#state === "dead") return new Promise(() => {});
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  pause(): void {
    if (this.#state === "running") this.#state = "paused";
  }

  resume(): void {
    if (this.#state !== "paused") return;
    this.#state = "running";
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const go of waiting) go();
  }

  kill(): void {
    this.#state = "dead";
    this.#waiting = [];
  }
}
