// Waiting on the node's clock.
import { type Clock } from "./ports.ts";

export function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve));
}

/** Waits for work, but for `ms` at most; the work goes on. Rejects if it does by then. */
export async function waitAtMost(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = clock.after(ms, resolve);
  try {
    await Promise.race([work, late]);
  } finally {
    timer.cancel();
  }
}
