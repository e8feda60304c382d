// One round of messages for all that wait: whoever joins while a round runs is served by the next one, which begins
// after they came.
export class SharedRound {
  readonly #run: () => Promise<void>;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(run: () => Promise<void>) {
    this.#run = run;
  }

  /** Resolves when a round that began after this call has ended; rejects when it failed. */
  join(): Promise<void> {
    if (!this.#running) return this.#begin();
    const begin = (): Promise<void> => {
      this.#next = undefined;
      return this.#begin();
    };
    this.#next ??= this.#running.then(begin, begin);
    return this.#next;
  }

  #begin(): Promise<void> {
    const round = this.#run().finally(() => {
      if (this.#running === round && !this.#next) this.#running = undefined;
    });
    this.#running = round;
    return round;
  }
}
