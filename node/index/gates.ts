// Bucket gates as a leader sees them: a write that makes something in a bucket passes the bucket's gate; closing the
// gate waits for the writes that passed and lets no other through meanwhile.
import { RingstowError } from "../../shared/errors.ts";
import { type BucketId } from "../../shared/ids.ts";

interface Gate {
  /** Writes that passed and are not decided yet. */
  passing: number;
  closing: boolean;
  passed: (() => void) | undefined;
}

export class Gates {
  readonly #gates = new Map<BucketId, Gate>();

  /** Call synchronously after the gate was seen open. Throws SlowDown while it closes. */
  async through<T>(bucket: BucketId, work: () => Promise<T>): Promise<T> {
    const gate = this.#gates.get(bucket) ?? { passing: 0, closing: false, passed: undefined };
    if (gate.closing) throw new RingstowError("SlowDown", "The bucket is being deleted");
    this.#gates.set(bucket, gate);
    gate.passing++;
    try {
      return await work();
    } finally {
      gate.passing--;
      if (gate.passing === 0) {
        gate.passed?.();
        if (!gate.closing) this.#gates.delete(bucket);
      }
    }
  }

  /** Runs the closing write once nothing passes any more. One at a time a bucket: the caller serialises. */
  async close<T>(bucket: BucketId, work: () => Promise<T>): Promise<T> {
    const gate = this.#gates.get(bucket) ?? { passing: 0, closing: false, passed: undefined };
    this.#gates.set(bucket, gate);
    gate.closing = true;
    try {
      if (gate.passing > 0) {
        const { promise, resolve } = Promise.withResolvers<void>();
        gate.passed = resolve;
        await promise;
      }
      return await work();
    } finally {
      this.#gates.delete(bucket);
    }
  }
}
