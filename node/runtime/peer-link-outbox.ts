// What waits to leave on one connection. All frames of one turn of the event loop, whatever socket or disk they answer,
// leave in one write: one TLS record, one wake-up of the peer; large stream chunks in one each. Messages go first;
// stream chunks follow in turn, one stream after another, and only while little is queued in the socket, so that
// bulk data never keeps a call waiting behind more than `linkStreamAheadBytes`.
import { type Socket } from "node:net";
import { giveChunk, takeChunk } from "../../shared/chunk-memory.ts";
import { linkStreamAheadBytes } from "../../shared/limits.ts";
import { type FrameType, frameHeaderBytes, writeFrameHeader } from "./frame.ts";

/** Payloads from this size on are handed to the socket as they are, smaller ones are joined. */
const joinBytesMax = 16 * 1024;
const NOTHING = new Uint8Array(0);

export interface Frame {
  readonly type: FrameType;
  readonly id: number;
  readonly payload: Uint8Array;
}

/** A large chunk of a stream, its header before it, in memory that is used again once it has left. */
interface PackedFrame {
  readonly packed: Uint8Array;
}

export class Outbox {
  readonly #socket: Socket;
  #open = false;
  #scheduled = false;
  #messages: Frame[] = [];
  #messageBytes = 0;
  /** Chunks and ends by stream id; the stream whose turn it is comes first. */
  readonly #streams = new Map<number, (Frame | PackedFrame)[]>();

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Bytes that wait here and in the socket, stream chunks not counted. */
  get backlogBytes(): number {
    return this.#messageBytes + this.#socket.writableLength;
  }

  /** From now on frames leave; before, they wait. `first` leaves before all others. */
  start(first: Frame): void {
    this.#open = true;
    this.#messages.unshift(first);
    this.flush();
  }

  /** A payload must not be changed afterwards. */
  message(type: FrameType, id: number, payload: Uint8Array = NOTHING): void {
    this.#messages.push({ type, id, payload });
    this.#messageBytes += frameHeaderBytes + payload.length;
    this.#schedule();
  }

  /** A chunk or an end of a stream: in order within the stream, after messages. The payload is copied. */
  streamFrame(type: FrameType, id: number, payload: Uint8Array = NOTHING): void {
    const frame = copied(type, id, payload);
    const waiting = this.#streams.get(id);
    if (waiting) waiting.push(frame);
    else this.#streams.set(id, [frame]);
    this.#schedule();
  }

  /** Forgets what a stream has not sent yet. */
  dropStream(id: number): void {
    this.#streams.delete(id);
  }

  /** Nothing leaves any more. */
  stop(): void {
    this.#open = false;
    this.#messages = [];
    this.#messageBytes = 0;
    this.#streams.clear();
  }

  /** Writes what may leave now. */
  flush = (): void => {
    this.#scheduled = false;
    if (!this.#open) return;
    const frames: (Frame | PackedFrame)[] = this.#messages;
    this.#messages = [];
    this.#messageBytes = 0;
    if (this.#streams.size > 0) this.#takeStreamFrames(frames);
    if (frames.length > 0) this.#write(frames);
  };

  /** A write is in the kernel's hands: stream chunks that found no room may follow. */
  #written = (): void => {
    if (this.#streams.size > 0) this.flush();
  };

  #schedule(): void {
    if (this.#scheduled || !this.#open) return;
    this.#scheduled = true;
    // After the turn's other callbacks, as the store does it: their frames share the write.
    setImmediate(this.flush);
  }

  #takeStreamFrames(frames: (Frame | PackedFrame)[]): void {
    let room = linkStreamAheadBytes - this.#socket.writableLength;
    while (room > 0) {
      const turn = this.#streams.entries().next().value;
      if (!turn) return;
      const [id, waiting] = turn;
      const frame = waiting.shift()!;
      this.#streams.delete(id);
      if (waiting.length > 0) this.#streams.set(id, waiting);
      frames.push(frame);
      room -= "packed" in frame ? frame.packed.length : frameHeaderBytes + frame.payload.length;
    }
  }

  #write(frames: readonly (Frame | PackedFrame)[]): void {
    let run: Frame[] = [];
    for (const frame of frames) {
      if (!("packed" in frame)) {
        run.push(frame);
        continue;
      }
      if (run.length > 0) this.#writeJoined(run);
      run = [];
      this.#writePacked(frame.packed);
    }
    if (run.length > 0) this.#writeJoined(run);
  }

  /** Not corked with others: the socket would copy what it is given together. */
  #writePacked(bytes: Uint8Array): void {
    this.#socket.write(bytes, (error) => {
      if (!error) giveChunk(bytes);
      this.#written();
    });
  }

  #writeJoined(frames: readonly Frame[]): void {
    const socket = this.#socket;
    socket.cork();
    let last: Uint8Array = NOTHING;
    for (let from = 0; from < frames.length;) {
      // Small frames, and the header of the large one that ends the run, in one buffer.
      let to = from;
      let bytes = 0;
      let large: Uint8Array | undefined;
      while (to < frames.length && !large) {
        const { payload } = frames[to++]!;
        bytes += frameHeaderBytes;
        if (payload.length < joinBytesMax) bytes += payload.length;
        else large = payload;
      }
      const joined = Buffer.allocUnsafe(bytes);
      let at = 0;
      for (; from < to; from++) {
        const { type, id, payload } = frames[from]!;
        at = writeFrameHeader(joined, at, type, id, payload.length);
        if (payload === large) break;
        joined.set(payload, at);
        at += payload.length;
      }
      from = to;
      if (last.length > 0) socket.write(last);
      last = joined;
      if (large) {
        socket.write(last);
        last = large;
      }
    }
    socket.write(last, this.#written);
    socket.uncork();
  }
}

function copied(type: FrameType, id: number, payload: Uint8Array): Frame | PackedFrame {
  if (payload.length < joinBytesMax) return { type, id, payload: payload.slice() };
  const packed = takeChunk(frameHeaderBytes + payload.length);
  packed.set(payload, writeFrameHeader(packed, 0, type, id, payload.length));
  return { packed };
}
