// When a peer was heard, and since when something asked of it is unanswered. A silence counts only from a question
// on: an idle link is not a dead one.
import { linkSilentMs } from "../../shared/limits.ts";

export class Pulse {
  #heardAtMs = 0;
  /** When the first thing was asked since the peer was heard last. */
  #askedAtMs = 0;

  heard(): void {
    this.#heardAtMs = performance.now();
  }

  asked(): void {
    if (this.#askedAtMs <= this.#heardAtMs) this.#askedAtMs = performance.now();
  }

  /** The peer let a question pass for `linkSilentMs` without sending anything at all. */
  get silent(): boolean {
    return this.#askedAtMs > this.#heardAtMs && performance.now() - this.#askedAtMs > linkSilentMs;
  }
}
