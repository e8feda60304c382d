// The Clock port over the host's clocks. Its timers do not keep the process alive.
import { performance } from "node:perf_hooks";
import { type Clock } from "../ports.ts";

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};
