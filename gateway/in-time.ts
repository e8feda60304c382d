// Waiting for somebody only so long.

/** What a promise gives within `waitMs`; undefined when it takes longer. Rejects if it does by then, later is dropped. */
export function inTime<T>(
  waitMs: number,
  promise: Promise<T>,
): Promise<{ readonly value: T } | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), waitMs);
    promise.then((value) => resolve({ value }), reject).finally(() => clearTimeout(timer));
  });
}

/**
 * The first answer of several that may give it: the next is asked when the one before has failed, or has given none in
 * `waitMs`. Rejects with the last failure when all have failed; `candidates` is not empty.
 */
export function firstAnswer<C, T>(
  candidates: readonly C[],
  waitMs: number,
  ask: (candidate: C) => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let asked = 0;
    let failed = 0;
    let timer = setTimeout(() => undefined, 0);
    const askNext = (): void => {
      const candidate = candidates[asked];
      if (candidate === undefined) return;
      asked++;
      clearTimeout(timer);
      timer = setTimeout(askNext, waitMs);
      ask(candidate).then(
        (answer) => {
          asked = candidates.length;
          clearTimeout(timer);
          resolve(answer);
        },
        (error: unknown) => {
          if (++failed < candidates.length) askNext();
          else reject(error);
        },
      );
    };
    askNext();
  });
}
