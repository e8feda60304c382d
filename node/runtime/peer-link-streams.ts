// The streams of one connection. The side that dialled opens odd ids, the other one even ids.
import { FRAME, FrameError } from "./frame.ts";
import { type Outbox } from "./peer-link-outbox.ts";
import { WindowedStream } from "./peer-link-stream.ts";

const reasonLengthMax = 500; // characters of a reset's reason that travel
const idEnd = 0x1_0000_0000;

export class LinkStreams {
  readonly #outbox: Outbox;
  readonly #streams = new Map<number, WindowedStream>();
  readonly #parity: 0 | 1;
  #nextId: number;

  constructor(outbox: Outbox, dialled: boolean) {
    this.#outbox = outbox;
    this.#parity = dialled ? 1 : 0;
    this.#nextId = 2 + this.#parity;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** An id for a stream that this side opens; no other stream has it. */
  takeId(): number {
    do {
      this.#nextId += 2;
      if (this.#nextId >= idEnd) this.#nextId = 2 + this.#parity;
    } while (this.#streams.has(this.#nextId));
    return this.#nextId;
  }

  /** The other side may open this id. */
  isOthersFreeId(id: number): boolean {
    return (id & 1) !== this.#parity && !this.#streams.has(id);
  }

  create(id: number): WindowedStream {
    const outbox = this.#outbox;
    let ended = false;
    const stream = new WindowedStream({
      chunk: (bytes) => outbox.streamFrame(FRAME.chunk, id, bytes),
      end: () => {
        ended = true;
        outbox.streamFrame(FRAME.end, id);
      },
      credit: (bytes) => outbox.message(FRAME.credit, id, uint32(bytes)),
      reset: (reason) => {
        const payload = new TextEncoder().encode(reason.slice(0, reasonLengthMax));
        // What was sent before end() is complete and must arrive; else nothing of it is of use any more.
        if (ended) {
          outbox.streamFrame(FRAME.reset, id, payload);
        } else {
          outbox.dropStream(id);
          outbox.message(FRAME.reset, id, payload);
        }
      },
      finished: () => this.#streams.delete(id),
    });
    this.#streams.set(id, stream);
    return stream;
  }

  find(id: number): WindowedStream | undefined {
    return this.#streams.get(id);
  }

  /** Frames of a stream that is gone here are late, and dropped. Throws FrameError when the window is overrun. */
  onChunk(id: number, source: Uint8Array, start: number, end: number, owned: boolean): void {
    const stream = this.#streams.get(id);
    if (!stream) return;
    if (!stream.onChunk(owned ? source : source.slice(start, end)))
      throw new FrameError(`Cannot take a chunk of stream ${id}: the window is overrun`);
  }

  onReset(id: number, source: Uint8Array, start: number, end: number): void {
    const stream = this.#streams.get(id);
    if (!stream) return;
    this.#outbox.dropStream(id);
    stream.onReset(new TextDecoder().decode(source.subarray(start, end)));
  }

  failAll(fail: (stream: WindowedStream) => void): void {
    for (const stream of [...this.#streams.values()]) fail(stream);
  }
}

function uint32(value: number): Uint8Array {
  return new Uint8Array([value >>> 24, value >>> 16, value >>> 8, value]);
}
