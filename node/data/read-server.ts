// Serves the stream "data.read": a piece is verified by BlockFiles before any of its bytes leave.
import { giveChunk } from "../../shared/chunk-memory.ts";
import { isErrorCode, RingstowError } from "../../shared/errors.ts";
import { readServeIdleMs, readsServedMax } from "../../shared/limits.ts";
import { type ReadHead, readHeaderSchema } from "../../shared/protocol/data.ts";
import { type BlockFiles, type Clock, type PeerStream } from "../ports.ts";
import { within } from "./within.ts";

const encoder = new TextEncoder();

export class ReadServer {
  readonly #blocks: BlockFiles;
  readonly #clock: Clock;
  #serving = 0;

  constructor(blocks: BlockFiles, clock: Clock) {
    this.#blocks = blocks;
    this.#clock = clock;
  }

  async serve(rawHeader: unknown, stream: PeerStream): Promise<void> {
    const parsed = readHeaderSchema.safeParse(rawHeader);
    if (!parsed.success)
      throw new RingstowError("InvalidRequest", "Cannot read a block: the header is malformed");
    if (this.#serving >= readsServedMax) {
      await stream.send(encodeHead({ type: "refused", code: "SlowDown", message: "Busy" }));
      stream.end();
      return;
    }
    this.#serving++;
    const { block, from, to } = parsed.data;
    const chunks = this.#blocks.read(block, from, to)[Symbol.asyncIterator]();
    try {
      await this.#send(chunks, stream);
      stream.end();
    } finally {
      this.#serving--;
      await chunks.return?.();
    }
  }

  async #send(chunks: AsyncIterator<Uint8Array>, stream: PeerStream): Promise<void> {
    let next: IteratorResult<Uint8Array>;
    try {
      next = await chunks.next();
    } catch (error) {
      const code = error instanceof RingstowError ? error.code : "Internal";
      const message = error instanceof Error ? error.message : String(error);
      await stream.send(encodeHead({ type: "refused", code, message }));
      return;
    }
    await stream.send(encodeHead({ type: "head" }));
    while (!next.done) {
      // The next piece comes from disk while this one waits for room.
      const sent = stream.send(next.value);
      giveChunk(next.value);
      sent.catch(() => {}); // awaited below
      const following = chunks.next();
      following.catch(() => {});
      await within(this.#clock, readServeIdleMs, "send a chunk", sent);
      next = await following;
    }
  }
}

function encodeHead(head: ReadHead): Uint8Array {
  return encoder.encode(JSON.stringify(head));
}

/** The failure that a refusing head names. */
export function refusalOf(head: { code: string; message: string }): RingstowError {
  return new RingstowError(isErrorCode(head.code) ? head.code : "Internal", head.message);
}
