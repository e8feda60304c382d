// How long members take to answer a read, as a smoothed mean and deviation (as TCP does for its time-outs, RFC 6298):
// cheap enough for every read, and under load the hedge moves away with the answers instead of doubling the calls.
import { callTimeoutMs, hedgeDelayMinMs } from "../../shared/limits.ts";

export class ReplyTimes {
  #meanMs = 0;
  #deviationMs = 0;

  add(tookMs: number): void {
    const error = Math.abs(tookMs - this.#meanMs);
    this.#deviationMs += (error - this.#deviationMs) / 4;
    this.#meanMs += (tookMs - this.#meanMs) / 8;
  }

  /** How long to wait for the asked members before another one is asked, ms. */
  hedgeDelayMs(): number {
    const late = this.#meanMs + 4 * this.#deviationMs;
    return Math.min(callTimeoutMs, Math.max(hedgeDelayMinMs, late));
  }
}
