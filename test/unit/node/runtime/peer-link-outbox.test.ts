import { type Socket } from "node:net";
import { Writable } from "node:stream";
import { describe, expect, test } from "vitest";
import { FRAME, FrameParser, type FrameType } from "../../../../node/runtime/frame.ts";
import { Outbox } from "../../../../node/runtime/peer-link-outbox.ts";
import { linkStreamAheadBytes, streamChunkBytes } from "../../../../shared/limits.ts";

/** A socket whose writes end when the test says so. */
class SlowSocket extends Writable {
  /** Frames of each write, as "type:id". */
  readonly writes: string[][] = [];
  #release: (() => void) | undefined;

  override _write(chunk: Uint8Array, _encoding: string, done: () => void): void {
    this._writev([{ chunk }], done);
  }

  override _writev(chunks: { chunk: Uint8Array }[], done: () => void): void {
    const frames: string[] = [];
    const parser = new FrameParser((type, id) => frames.push(`${nameOf(type)}:${id}`));
    for (const { chunk } of chunks) parser.push(chunk);
    this.writes.push(frames);
    this.#release = done;
  }

  release(): void {
    const release = this.#release;
    this.#release = undefined;
    release?.();
  }
}

function nameOf(type: FrameType): string {
  return Object.entries(FRAME).find(([, value]) => value === type)![0];
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function startedOutbox(): { socket: SlowSocket; outbox: Outbox } {
  const socket = new SlowSocket();
  const outbox = new Outbox(socket as unknown as Socket);
  outbox.start({ type: FRAME.hello, id: 0, payload: new Uint8Array(3) });
  socket.release();
  socket.writes.length = 0;
  return { socket, outbox };
}

describe("Outbox", () => {
  test("holds all back until start(), then hello leaves first", () => {
    const socket = new SlowSocket();
    const outbox = new Outbox(socket as unknown as Socket);
    outbox.message(FRAME.request, 1);
    outbox.flush();
    expect(socket.writes).toEqual([]);
    outbox.start({ type: FRAME.hello, id: 0, payload: new Uint8Array(3) });
    expect(socket.writes).toEqual([["hello:0", "request:1"]]);
  });

  test("sends all frames of one turn in one write, messages before stream frames", async () => {
    const { socket, outbox } = startedOutbox();
    outbox.streamFrame(FRAME.chunk, 5, new Uint8Array(10));
    outbox.message(FRAME.reply, 1, new Uint8Array(20));
    outbox.message(FRAME.reply, 2, new Uint8Array(50_000));
    outbox.message(FRAME.reply, 3, new Uint8Array(0));
    await turn();
    expect(socket.writes).toEqual([["reply:1", "reply:2", "reply:3", "chunk:5"]]);
  });

  test("lets streams take turns and keeps few of their bytes in the socket", async () => {
    const { socket, outbox } = startedOutbox();
    const chunk = new Uint8Array(streamChunkBytes);
    const room = Math.ceil(linkStreamAheadBytes / streamChunkBytes);
    for (const id of [1, 3, 5])
      for (let i = 0; i < room; i++) outbox.streamFrame(FRAME.chunk, id, chunk);
    outbox.streamFrame(FRAME.end, 1);
    await turn();
    // While the socket is full, a message still goes ahead of all chunks.
    outbox.message(FRAME.reply, 9);
    await turn();
    expect(outbox.backlogBytes).toBeLessThan(linkStreamAheadBytes + streamChunkBytes);
    for (let i = 0; i < 10; i++) {
      socket.release();
      await turn();
    }
    const order = socket.writes.flat();
    expect(order.slice(0, 3)).toEqual(["chunk:1", "chunk:3", "reply:9"]);
    expect(order.slice(3)).toEqual(["chunk:5", "chunk:1", "chunk:3", "chunk:5", "end:1"]);
  });

  test("dropStream forgets only that stream's waiting frames", async () => {
    const { socket, outbox } = startedOutbox();
    outbox.streamFrame(FRAME.chunk, 1, new Uint8Array(1));
    outbox.streamFrame(FRAME.chunk, 3, new Uint8Array(1));
    outbox.dropStream(1);
    outbox.message(FRAME.reset, 1);
    await turn();
    expect(socket.writes).toEqual([["reset:1", "chunk:3"]]);
  });
});
