// Waiting on the node's clock, in pauses that grow.
import { lockPollMaxMs, lockPollMinMs } from "../../shared/limits.ts";
import { type Clock } from "../ports.ts";

export function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.after(ms, resolve));
}

/** Asks until there is an answer or `waitMs` are over: at once, then at growing pauses. */
export async function poll<T>(
  clock: Clock,
  waitMs: number,
  ask: () => Promise<T | undefined>,
): Promise<T | undefined> {
  const endMs = clock.monotonicMs() + waitMs;
  for (let pauseMs = lockPollMinMs; ; pauseMs = Math.min(2 * pauseMs, lockPollMaxMs)) {
    const answer = await ask();
    const leftMs = endMs - clock.monotonicMs();
    if (answer !== undefined || leftMs <= 0) return answer;
    await pause(clock, Math.min(pauseMs, leftMs));
  }
}
