// One end of a two-way stream with a credit window, without I/O: the peer link and its memory twin give it a wire.
// A sender has at most one window of bytes out that the receiver has not taken; the receiver gives credit back as
// chunks are taken, a quarter of a window at a time. Rules of QUIC streams (RFC 9000, section 3 and 4), simplified.
import { assert } from "../../shared/errors.ts";
import { streamChunkBytes, streamWindowBytes } from "../../shared/limits.ts";
import { type PeerStream, TransportError } from "../ports.ts";

/** Counted on top of a chunk's bytes, so that tiny chunks fill the window too. Same on both ends. */
export const chunkOverheadBytes = 64;

/** What an end says to the other one, in this order. `finished` is said once, when nothing can follow. */
export interface StreamWire {
  chunk(bytes: Uint8Array): void;
  end(): void;
  credit(bytes: number): void;
  reset(reason: string): void;
  finished(): void;
}

interface Waiter {
  resolve(chunk: Uint8Array | undefined): void;
  reject(error: Error): void;
}

export class WindowedStream implements PeerStream {
  readonly #wire: StreamWire;
  #failure: TransportError | undefined;
  #finished = false;

  #sent = 0; // bytes that the other side has not given credit for
  #ended = false;
  #roomWaiters: { resolve(): void; reject(error: Error): void }[] = [];

  readonly #received: Uint8Array[] = [];
  #taken = 0; // bytes taken and not yet given back as credit
  #held = 0; // bytes received and not yet taken
  #otherEnded = false;
  #reader: Waiter | undefined;

  constructor(wire: StreamWire) {
    this.#wire = wire;
  }

  send(chunk: Uint8Array): Promise<void> {
    assert(!this.#ended, "no send() after end()");
    assert(chunk.length <= streamChunkBytes, "a stream chunk is at most streamChunkBytes");
    assert(this.#sent < 2 * streamWindowBytes, "send() waits for the one before");
    if (this.#failure) return Promise.reject(this.#failure);
    this.#sent += chunk.length + chunkOverheadBytes;
    this.#wire.chunk(chunk);
    if (this.#sent < streamWindowBytes) return Promise.resolve();
    return new Promise((resolve, reject) => this.#roomWaiters.push({ resolve, reject }));
  }

  receive(): Promise<Uint8Array | undefined> {
    assert(!this.#reader, "one receive() at a time");
    const chunk = this.#received.shift();
    if (chunk) {
      this.#took(chunk);
      return Promise.resolve(chunk);
    }
    if (this.#otherEnded) return Promise.resolve(undefined);
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  end(): void {
    if (this.#ended || this.#failure) return;
    this.#ended = true;
    this.#wire.end();
    this.#wakeSenders(); // no next chunk, so no room to wait for
    this.#finishIfDone();
  }

  reset(reason: string): void {
    if (this.#finished) return;
    this.#wire.reset(reason);
    this.#otherEnded = false; // what is dropped here must not look like a clean end
    this.fail(new TransportError("closed", `Cannot go on with the stream: ${reason}`));
  }

  // -------------------------------------------------------------- what the other side said

  /** False when the other side sent more than the window allows. */
  onChunk(chunk: Uint8Array): boolean {
    if (this.#failure) return true; // it was on its way when this side gave up
    if (this.#otherEnded) return false;
    const reader = this.#reader;
    if (reader) {
      this.#reader = undefined;
      this.#took(chunk, 0);
      reader.resolve(chunk);
      return true;
    }
    this.#held += chunk.length + chunkOverheadBytes;
    this.#received.push(chunk);
    return this.#held <= 2 * streamWindowBytes + streamChunkBytes + chunkOverheadBytes;
  }

  onEnd(): void {
    if (this.#failure || this.#otherEnded) return;
    this.#otherEnded = true;
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.resolve(undefined);
    this.#finishIfDone();
  }

  onCredit(bytes: number): void {
    this.#sent = Math.max(0, this.#sent - bytes);
    if (this.#sent >= streamWindowBytes) return;
    this.#wakeSenders();
  }

  onReset(reason: string): void {
    this.fail(
      new TransportError("closed", `Cannot go on with the stream: the peer reset it: ${reason}`),
    );
  }

  /**
   * The carrier broke or the other side reset. What had arrived before the other side's end stays readable;
   * without that end the rest is dropped.
   */
  fail(error: TransportError): void {
    if (this.#finished) return;
    this.#failure = error;
    if (!this.#otherEnded) this.#received.length = 0;
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.reject(error);
    const waiters = this.#roomWaiters;
    this.#roomWaiters = [];
    for (const waiter of waiters) waiter.reject(error);
    this.#finish();
  }

  #wakeSenders(): void {
    const waiters = this.#roomWaiters;
    this.#roomWaiters = [];
    for (const waiter of waiters) waiter.resolve();
  }

  #took(chunk: Uint8Array, heldBefore = chunk.length + chunkOverheadBytes): void {
    this.#held -= heldBefore;
    this.#taken += chunk.length + chunkOverheadBytes;
    if (this.#taken < streamWindowBytes / 4 || this.#otherEnded || this.#failure) return;
    this.#wire.credit(this.#taken);
    this.#taken = 0;
  }

  #finishIfDone(): void {
    if (!this.#ended || !this.#otherEnded) return;
    this.#finish();
  }

  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#wire.finished();
  }
}
