// This node's own copies of blocks while they are written, and how they are given up.
// Order rule: the staged row is durable before the file is sealed, and the file is sealed before the copy is
// reported; a file is deleted before its row.
import { assert, RingstowError } from "../../shared/errors.ts";
import { type BlockId } from "../../shared/ids.ts";
import { blockBytesMax } from "../../shared/limits.ts";
import { type BlockRef } from "../../shared/records.ts";
import { type RegisterAddress } from "../index/types.ts";
import { type BlockFiles, type BlockWriter } from "../ports.ts";
import { type StagedBlocks } from "./staged.ts";

/** Something that becomes a copy here. */
export interface LiveCopy {
  /** Which run makes it. */
  readonly attempt: string;
  /** Gives the copy up, whatever it is doing. Never rejects; the lease covers what could not be removed. */
  abort(): Promise<void>;
}

/** A copy that one pipeline run writes here. */
export interface OwnCopy extends LiveCopy {
  /** Bytes so far. */
  readonly size: number;
  /** Appends, with the disk's back-pressure. */
  write(chunk: Uint8Array): Promise<void>;
  /** Resolves when the copy survives a power loss and is staged. On rejection it is removed. */
  seal(): Promise<void>;
}

export class OwnCopies {
  readonly #blocks: BlockFiles;
  readonly #staged: StagedBlocks;
  readonly #onChange: (bytes: number) => void;
  /** Copies being written. One block may be written twice at once, by two runs of one upload. */
  readonly #live = new Map<BlockId, Set<LiveCopy>>();

  /** `onChange` hears how many bytes were sealed or deleted, about. */
  constructor(blocks: BlockFiles, staged: StagedBlocks, onChange: (bytes: number) => void) {
    this.#blocks = blocks;
    this.#staged = staged;
    this.#onChange = onChange;
  }

  /** Throws DiskFull. */
  async start(block: BlockId, owner: RegisterAddress, attempt: string): Promise<OwnCopy> {
    const writer = await this.#blocks.create(block);
    // Goes to disk while the bytes arrive, so that it costs the upload no time of its own.
    const recorded = this.#staged.record(block, owner, attempt);
    recorded.catch(() => {}); // seal() awaits it
    const copy = new WritingCopy(this.#blocks, block, attempt, writer, recorded, {
      sealed: (bytes) => {
        this.#onChange(bytes);
        this.leave(block, copy);
      },
      gone: async () => {
        this.leave(block, copy);
        await this.#dropRow(block, attempt);
      },
    });
    this.enter(block, copy);
    return copy;
  }

  /**
   * A second name of a block that is here, staged like a copy. Resolves when it survives a power loss. Throws
   * NoSuchKey or Corrupt when the source is not what the caller takes it for.
   */
  async link(
    source: Pick<BlockRef, "id" | "size">,
    target: BlockId,
    owner: RegisterAddress,
    attempt: string,
  ): Promise<void> {
    let givenUp = false;
    const link = async (): Promise<void> => {
      await this.#staged.record(target, owner, attempt);
      const { size } = await this.#blocks.link(source.id, target);
      if (size !== source.size)
        throw new RingstowError("Corrupt", `Block "${source.id}" has ${size} bytes here`);
      if (givenUp)
        throw new RingstowError("Unavailable", `Cannot link block "${target}": given up`);
    };
    const work = link();
    const settled = work.catch(() => {});
    const linking: LiveCopy = {
      attempt,
      abort: () => {
        givenUp = true;
        return settled;
      },
    };
    this.enter(target, linking);
    try {
      await work;
      this.leave(target, linking);
    } catch (error) {
      this.leave(target, linking);
      if (this.#staged.find(target)?.attempt === attempt && !this.isLive(target))
        await this.remove([target]).catch(() => {}); // then it goes when its lease ends
      throw error;
    }
  }

  /** From now on the block is being made here: no sweep touches it. */
  enter(block: BlockId, copy: LiveCopy): void {
    const live = this.#live.get(block) ?? new Set();
    this.#live.set(block, live.add(copy));
  }

  leave(block: BlockId, copy: LiveCopy): void {
    const live = this.#live.get(block);
    live?.delete(copy);
    if (live?.size === 0) this.#live.delete(block);
  }

  isLive(block: BlockId): boolean {
    return this.#live.has(block);
  }

  /** Gives up the copies of some attempts, or of all. Idempotent. Rejects when the disk refuses. */
  async discard(block: BlockId, attempts?: readonly string[]): Promise<void> {
    const meant = (attempt: string): boolean => !attempts || attempts.includes(attempt);
    for (const copy of [...(this.#live.get(block) ?? [])])
      if (meant(copy.attempt)) await copy.abort();
    if (this.#live.has(block)) return; // another run writes it, and has its row
    const staged = this.#staged.find(block);
    if (!staged || !meant(staged.attempt)) return;
    await this.remove([block]);
  }

  /** Deletes files, then rows. Idempotent. */
  async remove(blocks: readonly BlockId[]): Promise<void> {
    for (const block of blocks) {
      const bytes = await this.#bytesOf(block);
      // Also when there seems to be none: another call may have removed it a moment ago, and not durably yet.
      if (await this.#blocks.delete(block)) this.#onChange(bytes);
    }
    const rows = blocks.filter((block) => this.#staged.find(block) && !this.isLive(block));
    if (rows.length > 0) await this.#staged.forget(rows);
  }

  /** Of a file that is there; a damaged one tells no size, and must be deleted all the same. */
  async #bytesOf(block: BlockId): Promise<number> {
    try {
      return (await this.#blocks.stat(block))?.size ?? 0;
    } catch (error) {
      if (error instanceof RingstowError && error.code === "Corrupt") return 0;
      throw error;
    }
  }

  /** Ends everything that is being written. */
  async abortAll(): Promise<void> {
    const copies = [...this.#live.values()].flatMap((live) => [...live]);
    await Promise.all(copies.map((copy) => copy.abort()));
  }

  /** After a copy failed: its row goes, unless a file or another run needs it. */
  async #dropRow(block: BlockId, attempt: string): Promise<void> {
    if (this.isLive(block)) return;
    if (this.#staged.find(block)?.attempt !== attempt) return;
    if ((await this.#blocks.stat(block)) || this.isLive(block)) return;
    await this.#staged.forget([block]);
  }
}

interface CopyEnds {
  sealed(bytes: number): void;
  gone(): Promise<void>;
}

class WritingCopy implements OwnCopy {
  readonly attempt: string;
  size = 0;
  readonly #blocks: BlockFiles;
  readonly #block: BlockId;
  readonly #writer: BlockWriter;
  readonly #recorded: Promise<void>;
  readonly #ends: CopyEnds;
  #state: "open" | "sealing" | "sealed" | "gone" = "open";
  #givenUp = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(
    blocks: BlockFiles,
    block: BlockId,
    attempt: string,
    writer: BlockWriter,
    recorded: Promise<void>,
    ends: CopyEnds,
  ) {
    this.#blocks = blocks;
    this.#block = block;
    this.attempt = attempt;
    this.#writer = writer;
    this.#recorded = recorded;
    this.#ends = ends;
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (this.#state !== "open") throw this.#givenUpError();
    this.size += chunk.length;
    assert(this.size <= blockBytesMax, "a block has at most blockBytesMax bytes");
    await this.#writer.write(chunk);
  }

  seal(): Promise<void> {
    if (this.#state !== "open") return Promise.reject(this.#givenUpError());
    this.#state = "sealing";
    const sealing = this.#seal();
    this.#ended = sealing.catch(() => {});
    return sealing;
  }

  async #seal(): Promise<void> {
    let sealedHere = false;
    try {
      await this.#recorded;
      sealedHere = await this.#sealFile();
      if (this.#givenUp) throw this.#givenUpError();
    } catch (error) {
      this.#state = "gone";
      await this.#remove(sealedHere);
      throw error;
    }
    this.#state = "sealed";
    this.#ends.sealed(sealedHere ? this.size : 0);
  }

  /** False when another run of the same upload had sealed the block: same id and same size are the same bytes. */
  async #sealFile(): Promise<boolean> {
    try {
      await this.#writer.seal();
      return true;
    } catch (error) {
      const info = await this.#blocks.stat(this.#block);
      if (info?.size !== this.size) throw error;
      await this.#writer.abort();
      return false;
    }
  }

  async abort(): Promise<void> {
    if (this.#state === "sealing") {
      this.#givenUp = true;
      await this.#ended;
    } else if (this.#state === "open") {
      this.#state = "gone";
      this.#ended = this.#remove(false);
      await this.#ended;
    } else await this.#ended; // an abort under way
  }

  async #remove(sealedHere: boolean): Promise<void> {
    try {
      await this.#writer.abort();
      if (sealedHere) await this.#blocks.delete(this.#block);
      await this.#recorded.catch(() => {});
    } catch {
      // The temporary file goes at the next start, a sealed one when its lease ends: the row is kept for it.
    }
    await this.#ends.gone().catch(() => {}); // a row that stays is dropped when its lease ends
  }

  #givenUpError(): RingstowError {
    return new RingstowError("Unavailable", `Cannot write block "${this.#block}": given up`);
  }
}
