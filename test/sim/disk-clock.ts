// The clock that a simulated disk goes by: a node's clock, stretched while the disk is slow.
import { type Clock, type Timer } from "../../node/ports.ts";

export class DiskClock implements Clock {
  /** How many times slower than usual the disk is. */
  factor = 1;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  wallMs(): number {
    return this.#clock.wallMs();
  }

  after(delayMs: number, action: () => void): Timer {
    return this.#clock.after(delayMs * this.factor, action);
  }
}
