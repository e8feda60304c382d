// One draft: a block of a native writer that is not sealed yet. Its steps run one after another, in the order in
// which they came. Invariant: once a byte was answered for, the draft's record is durable, so that after a restart
// the block is known to be gone instead of being taken for its base.
import { giveChunk } from "../../shared/chunk-memory.ts";
import { RingstowError } from "../../shared/errors.ts";
import { toHex } from "../../shared/ids.ts";
import {
  blockBytesMax,
  draftIdleMs,
  draftStepsMax,
  streamChunkBytes,
} from "../../shared/limits.ts";
import {
  type BlockFiles,
  type Chance,
  type Clock,
  type DraftWriter,
  type Timer,
} from "../ports.ts";
import { ChunkGatherer } from "./chunk-gatherer.ts";
import { type LiveCopy, type OwnCopies } from "./own-copies.ts";
import { type BlockReader } from "./reader.ts";
import { type StagedBlocks } from "./staged.ts";
import { type DraftPlace } from "./types.ts";

export interface DraftParts {
  readonly clock: Clock;
  readonly chance: Chance;
  readonly blocks: BlockFiles;
  readonly staged: StagedBlocks;
  readonly copies: OwnCopies;
  readonly reader: BlockReader;
  /** The draft is sealed or gone. */
  ended(): void;
}

export class Draft implements LiveCopy {
  readonly attempt: string;
  readonly #parts: DraftParts;
  readonly #place: DraftPlace;
  #writer: DraftWriter | undefined;
  #state: "open" | "sealed" | "gone" = "open";
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #idle: Timer | undefined;
  #aborting: Promise<void> | undefined;

  constructor(parts: DraftParts, place: DraftPlace) {
    this.#parts = parts;
    this.#place = place;
    this.attempt = toHex(parts.chance.bytes(16));
    this.#used();
  }

  /** Answers the draft's size. What a body brought before it broke stays written. */
  write(at: number, body: AsyncIterable<Uint8Array>): Promise<number> {
    return this.#step(async () => {
      const writer = await this.#begin();
      const gatherer = new ChunkGatherer();
      let offset = at;
      const put = async (chunk: Uint8Array): Promise<void> => {
        if (offset + chunk.length > blockBytesMax)
          throw new RingstowError("EntityTooLarge", "Cannot write to a draft: a block is full");
        this.#requireOpen();
        await writer.write(offset, chunk);
        offset += chunk.length;
        this.#used();
      };
      for await (const chunk of body) {
        for (const ready of gatherer.push(chunk)) await put(ready);
        giveChunk(chunk);
      }
      for (const ready of gatherer.flush()) await put(ready);
      return writer.size;
    });
  }

  /** Resolves when the block is durable, and staged for another whole lease. */
  seal(): Promise<void> {
    return this.#step(async () => {
      const { staged, copies } = this.#parts;
      const { block, owner } = this.#place;
      const writer = await this.#begin();
      await staged.record(block, owner, this.attempt);
      this.#requireOpen();
      try {
        await writer.seal();
      } catch (error) {
        await this.abort(); // a writer that failed to seal has given its bytes up
        throw error;
      }
      this.#state = "sealed";
      this.#idle?.cancel();
      copies.leave(block, this);
      this.#parts.ended();
    });
  }

  /** Gives the draft up. Its record stays until the lease ends: it says that there was one. */
  abort(): Promise<void> {
    this.#aborting ??= this.#abort();
    return this.#aborting;
  }

  async #abort(): Promise<void> {
    if (this.#state === "open") this.#state = "gone";
    this.#idle?.cancel();
    // A temporary file that cannot be removed now goes at the next start.
    await this.#writer?.abort().catch(() => {});
    // A step that was making the draft sees that it is gone, and removes what it made.
    this.#parts.copies.leave(this.#place.block, this);
    if (this.#state === "gone") this.#parts.ended();
  }

  async #step<T>(run: () => Promise<T>): Promise<T> {
    this.#requireOpen();
    if (this.#waiting >= draftStepsMax)
      throw new RingstowError("SlowDown", "Cannot write to a draft: too many writes wait for it");
    this.#waiting++;
    const result = this.#last.then(() => {
      this.#requireOpen();
      return run();
    });
    this.#last = result.catch(() => {});
    try {
      return await result;
    } catch (error) {
      // What the writer says of a draft that was given up meanwhile is no news.
      if (!(error instanceof RingstowError)) this.#requireOpen();
      throw error;
    } finally {
      this.#waiting--;
    }
  }

  /** The draft's file, made as a copy of its base by the first step. */
  async #begin(): Promise<DraftWriter> {
    if (this.#writer) return this.#writer;
    const { blocks, staged } = this.#parts;
    const { block, owner } = this.#place;
    await staged.record(block, owner, this.attempt);
    let writer: DraftWriter | undefined;
    try {
      writer = await blocks.createDraft(block);
      for await (const chunk of this.#baseChunks()) {
        this.#requireOpen();
        await writer.write(writer.size, chunk);
        giveChunk(chunk);
        this.#used();
      }
      this.#requireOpen();
    } catch (error) {
      await writer?.abort().catch(() => {});
      // Nobody was answered a byte: the next write may begin anew.
      await staged.forget([block]);
      throw error;
    }
    this.#writer = writer;
    return writer;
  }

  async *#baseChunks(): AsyncIterable<Uint8Array> {
    const { base, owner } = this.#place;
    if (base instanceof Uint8Array) {
      for (let at = 0; at < base.length; at += streamChunkBytes)
        yield base.subarray(at, at + streamChunkBytes);
    } else if (base) yield* this.#parts.reader.read(base, 0, base.size, owner);
  }

  #used(): void {
    this.#idle?.cancel();
    this.#idle = this.#parts.clock.after(draftIdleMs, () => void this.abort());
  }

  #requireOpen(): void {
    if (this.#state === "open") return;
    const reason = this.#state === "sealed" ? "it is sealed" : "it was given up";
    throw new RingstowError(
      "NoSuchKey",
      `Cannot write to the draft of block "${this.#place.block}": ${reason}`,
    );
  }
}
