// A large request body in large chunks. Invariant: at most one full chunk waits, then the socket is paused. A body that
// comes slowly is handed on as it comes, once what the socket had ready is there.
import { type IncomingMessage } from "node:http";
import { freeChunk } from "../../shared/chunk-memory.ts";
import { GatheredChunks } from "../../shared/gathered-chunks.ts";
import { streamChunkBytes } from "../../shared/limits.ts";

export class GatheredBody implements AsyncIterator<Uint8Array> {
  readonly #incoming: IncomingMessage;
  readonly #incomplete: (bytes: number) => Error;
  readonly #chunks = new GatheredChunks();
  #bytes = 0;
  #state: "new" | "reading" | "ended" | "broken" | "left" = "new";
  #waiting: PromiseWithResolvers<IteratorResult<Uint8Array>> | undefined;
  #handingOn: NodeJS.Immediate | undefined;

  /** @param incomplete the error of a client that left before the end */
  constructor(incoming: IncomingMessage, incomplete: (bytes: number) => Error) {
    this.#incoming = incoming;
    this.#incomplete = incomplete;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    if (this.#state === "new") this.#start();
    const full = this.#chunks.takeFull();
    if (full) {
      if (this.#state === "reading" && this.#chunks.bytes < streamChunkBytes)
        this.#incoming.resume();
      return Promise.resolve({ done: false, value: full });
    }
    this.#waiting = Promise.withResolvers();
    const { promise } = this.#waiting;
    if (this.#state === "reading") this.#handOnSoon();
    else this.#handOn();
    return promise;
  }

  /** Leaves the connection open for the answer; the server then drains or closes it. */
  return(): Promise<IteratorResult<Uint8Array>> {
    if (this.#state === "reading") {
      this.#stop("left");
      this.#incoming.pause();
      this.#handOn();
    }
    this.#state = "left";
    return Promise.resolve({ done: true, value: undefined });
  }

  #start(): void {
    const incoming = this.#incoming;
    // A request that was destroyed with bytes unread must not look like one that ended.
    if (incoming.destroyed || incoming.readableEnded) {
      this.#state = incoming.readableEnded ? "ended" : "broken";
      return;
    }
    this.#state = "reading";
    incoming.on("data", this.#onData);
    incoming.on("end", this.#onEnd);
    incoming.on("close", this.#onBreak);
    // Stays to the end: a failure after the body was read is nobody's news.
    incoming.on("error", this.#onBreak);
  }

  #stop(state: "ended" | "broken" | "left"): void {
    this.#state = state;
    clearImmediate(this.#handingOn);
    this.#incoming.off("data", this.#onData);
    this.#incoming.off("end", this.#onEnd);
    this.#incoming.off("close", this.#onBreak);
  }

  #onData = (piece: Buffer): void => {
    this.#bytes += piece.length;
    this.#chunks.add(piece);
    freeChunk(piece);
    const full = this.#waiting && this.#chunks.takeFull();
    if (full) this.#settle({ done: false, value: full });
    else if (this.#waiting) this.#handOnSoon();
    else if (this.#chunks.bytes >= streamChunkBytes) this.#incoming.pause();
  };

  #onEnd = (): void => {
    this.#stop("ended");
    this.#handOn();
  };

  #onBreak = (): void => {
    if (this.#state !== "reading") return;
    this.#stop("broken");
    this.#handOn();
  };

  /** After what the socket has ready has come. */
  #handOnSoon(): void {
    this.#handingOn ??= setImmediate(() => {
      this.#handingOn = undefined;
      this.#handOn();
    });
  }

  /** Answers who waits, if there is something to say. */
  #handOn(): void {
    const waiting = this.#waiting;
    if (!waiting) return;
    if (this.#state === "broken") {
      this.#waiting = undefined;
      waiting.reject(this.#incomplete(this.#bytes));
      return;
    }
    const chunk = this.#state === "left" ? undefined : this.#chunks.take();
    if (chunk) this.#settle({ done: false, value: chunk });
    else if (this.#state !== "reading") this.#settle({ done: true, value: undefined });
  }

  #settle(step: IteratorResult<Uint8Array>): void {
    const waiting = this.#waiting!;
    this.#waiting = undefined;
    waiting.resolve(step);
  }
}
