// Frames of the peer link: 4 bytes length of the payload, 1 byte type, 4 bytes id (of a call or a stream), payload.
// Integers are big-endian. The parser works in place and copies a payload at most once, when it came in pieces.
import { takeChunk } from "../../shared/chunk-memory.ts";
import { frameBytesMax, streamChunkBytes } from "../../shared/limits.ts";

/** Payloads: hello, request, reply, failure, open: msgpack; chunk: raw; credit: 4 bytes; reset: UTF-8; else none. */
export const FRAME = {
  hello: 1,
  request: 2,
  reply: 3,
  failure: 4,
  open: 5,
  accept: 6,
  chunk: 7,
  end: 8,
  credit: 9,
  reset: 10,
} as const;

export type FrameType = (typeof FRAME)[keyof typeof FRAME];

export const frameHeaderBytes = 9;

/** Takes a frame; the payload is source[start..end), valid only during the call unless `source` is `owned`: then the sink's. */
export type FrameSink = (
  type: FrameType,
  id: number,
  source: Uint8Array,
  start: number,
  end: number,
  owned: boolean,
) => void;

/** The bytes are no frames: the connection that they came from is of no more use. */
export class FrameError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "FrameError";
  }
}

/** Writes a frame's header at `at`; gives the place where its payload begins. */
export function writeFrameHeader(
  target: Uint8Array,
  at: number,
  type: FrameType,
  id: number,
  payloadBytes: number,
): number {
  target[at] = payloadBytes >>> 24;
  target[at + 1] = payloadBytes >>> 16;
  target[at + 2] = payloadBytes >>> 8;
  target[at + 3] = payloadBytes;
  target[at + 4] = type;
  target[at + 5] = id >>> 24;
  target[at + 6] = id >>> 16;
  target[at + 7] = id >>> 8;
  target[at + 8] = id;
  return at + frameHeaderBytes;
}

export function readUint32(source: Uint8Array, at: number): number {
  return (
    (source[at]! * 0x1000000 +
      (source[at + 1]! << 16) +
      (source[at + 2]! << 8) +
      source[at + 3]!) >>>
    0
  );
}

/** Cuts a byte sequence, pushed in any pieces, into frames. */
export class FrameParser {
  readonly #sink: FrameSink;
  readonly #head = new Uint8Array(frameHeaderBytes);
  #headFilled = 0;
  /** A payload that did not come in one piece. */
  #body: Uint8Array | undefined;
  #bodyFilled = 0;
  #type: FrameType = FRAME.hello;
  #id = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Throws FrameError at the first bytes that cannot begin a frame; push no more after that. */
  push(piece: Uint8Array): void {
    let at = 0;
    while (at < piece.length) {
      if (this.#body) {
        at = this.#fillBody(this.#body, piece, at);
        continue;
      }
      let length: number;
      if (this.#headFilled === 0 && piece.length - at >= frameHeaderBytes) {
        length = this.#readHead(piece, at);
        at += frameHeaderBytes;
      } else {
        const part = piece.subarray(at, at + frameHeaderBytes - this.#headFilled);
        this.#head.set(part, this.#headFilled);
        this.#headFilled += part.length;
        at += part.length;
        if (this.#headFilled < frameHeaderBytes) return;
        this.#headFilled = 0;
        length = this.#readHead(this.#head, 0);
      }
      if (piece.length - at >= length) {
        this.#sink(this.#type, this.#id, piece, at, at + length, false);
        at += length;
      } else {
        this.#body =
          this.#type === FRAME.chunk
            ? takeChunk(length)
            : new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
        this.#bodyFilled = 0;
      }
    }
  }

  #fillBody(body: Uint8Array, piece: Uint8Array, at: number): number {
    const end = Math.min(piece.length, at + body.length - this.#bodyFilled);
    body.set(at === 0 && end === piece.length ? piece : piece.subarray(at, end), this.#bodyFilled);
    this.#bodyFilled += end - at;
    if (this.#bodyFilled === body.length) {
      this.#body = undefined;
      this.#sink(this.#type, this.#id, body, 0, body.length, true);
    }
    return end;
  }

  /** Payload length of the frame whose header is at `at`. */
  #readHead(source: Uint8Array, at: number): number {
    const length = readUint32(source, at);
    const type = source[at + 4]!;
    if (type < FRAME.hello || type > FRAME.reset)
      throw new FrameError(`Cannot read a frame: type ${type} is unknown`);
    const most = type === FRAME.chunk ? streamChunkBytes : frameBytesMax;
    if (length > most)
      throw new FrameError(`Cannot read a frame of type ${type}: ${length} bytes are too many`);
    this.#type = type as FrameType;
    this.#id = readUint32(source, at + 5);
    return length;
  }
}
