// A download as one stream over several nodes: when one breaks, the next goes on at the byte where it stopped, if
// the object is still the same. Invariant: ends only after exactly the promised bytes; otherwise it throws.
import { RingstowError } from "../../shared/errors.ts";
import { resumesMax } from "../../shared/limits.ts";
import { type GetHead } from "../../shared/object-protocol.ts";
import { type ByteStream } from "../../shared/object-service.ts";

export interface Download {
  readonly head: GetHead;
  readonly bytes: AsyncIterator<Uint8Array>;
  /** All of `bytes`, when they are here already. */
  readonly held?: Uint8Array | undefined;
}

type ObjectHead = Extract<GetHead, { type: "object" }>;

/** To be read once. return() stops the node that is sending. */
export class ResumedBody implements ByteStream {
  readonly #head: ObjectHead;
  readonly #open: (from: number, to: number) => Promise<Download>;
  #bytes: AsyncIterator<Uint8Array>;
  #at: number;
  #resumes = 0;
  #stopped = false;

  /** @param open asks some node for the object's bytes from..to (exclusive) */
  constructor(
    head: ObjectHead,
    bytes: AsyncIterator<Uint8Array>,
    open: (from: number, to: number) => Promise<Download>,
  ) {
    this.#head = head;
    this.#bytes = bytes;
    this.#at = head.from;
    this.#open = open;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return { next: () => this.#next(), return: () => this.#stop() };
  }

  async #next(): Promise<IteratorResult<Uint8Array>> {
    for (;;) {
      try {
        const step = await this.#bytes.next();
        if (this.#stopped) return { done: true, value: undefined };
        if (!step.done) {
          this.#at += step.value.length;
          if (this.#at > this.#head.to) throw new Error("The node sent more than it promised");
          return step;
        }
        if (this.#at === this.#head.to) return step;
        throw new Error("The node's stream ended early");
      } catch (error) {
        if (this.#stopped) return { done: true, value: undefined };
        if (this.#at > this.#head.to) {
          await this.#bytes.return?.();
          throw new RingstowError("Internal", String(error));
        }
        await this.#resume(error);
      }
    }
  }

  async #resume(cause: unknown): Promise<void> {
    const reason = `it broke at byte ${this.#at} (${String(cause)})`;
    if (++this.#resumes > resumesMax)
      throw new RingstowError("Unavailable", `Cannot go on with the download: ${reason}`);
    const { head, bytes } = await this.#open(this.#at, this.#head.to);
    if (this.#stopped) {
      await bytes.return?.();
      return;
    }
    const same =
      head.type === "object" &&
      head.entry.version === this.#head.entry.version &&
      head.entry.etag === this.#head.entry.etag &&
      head.from === this.#at &&
      head.to === this.#head.to;
    if (!same) {
      await bytes.return?.();
      throw new RingstowError(
        "Unavailable",
        `Cannot go on with the download: ${reason}, and the object changed`,
      );
    }
    this.#bytes = bytes;
  }

  async #stop(): Promise<IteratorResult<Uint8Array>> {
    this.#stopped = true;
    await this.#bytes.return?.();
    return { done: true, value: undefined };
  }
}

/** Calls `over` once when the iterator has ended, thrown or been stopped. */
export function watched(
  inner: AsyncIterator<Uint8Array>,
  over: (broken: boolean) => void,
): AsyncIterator<Uint8Array> {
  let done = false;
  const finish = (broken: boolean): void => {
    if (done) return;
    done = true;
    over(broken);
  };
  return {
    async next() {
      try {
        const step = await inner.next();
        if (step.done) finish(false);
        return step;
      } catch (error) {
        finish(true);
        throw error;
      }
    },
    async return() {
      finish(false);
      await inner.return?.();
      return { done: true, value: undefined };
    },
  };
}
