// A time limit on one promise, by the injected clock.
import { type Clock, TransportError } from "../ports.ts";

/**
 * The promise's own outcome, or a TransportError "timeout" after `limitMs`. The work goes on: who needs it stopped
 * must stop it. `what` continues "Cannot …".
 */
export function within<T>(
  clock: Clock,
  limitMs: number,
  what: string,
  promise: Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(limitMs, () =>
      reject(new TransportError("timeout", `Cannot ${what}: nothing for ${limitMs} ms`)),
    );
    promise.then(
      (value) => {
        timer.cancel();
        resolve(value);
      },
      (error: unknown) => {
        timer.cancel();
        reject(error);
      },
    );
  });
}

/** What an unknown thrown thing says. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
