// The Clock port over the host's clocks. Its timers do not keep the process alive.
import { performance } from "node:perf_hooks";
import { type Clock, type Timer } from "../ports.ts";

/** setTimeout takes 31 bits; a longer delay would fire at once. */
const timeoutMsMax = 2 ** 31 - 1;

/** Real time. */
export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs: number, action: () => void): Timer {
    let handle: NodeJS.Timeout;
    const arm = (leftMs: number): void => {
      const stepMs = Math.min(leftMs, timeoutMsMax);
      handle = setTimeout(() => (leftMs > stepMs ? arm(leftMs - stepMs) : action()), stepMs);
      handle.unref();
    };
    arm(delayMs >= 0 ? delayMs : 0);
    return { cancel: () => clearTimeout(handle) };
  },
};
