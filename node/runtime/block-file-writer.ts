// Writes one block file: chunks are copied into large writes, the pieces' CRCs computed on the way. While one buffer
// goes to disk the other fills; more is never held. A long file is synced now and then while it grows, so that the sync
// that seal() waits for finds little left; one that fails fails the block, since the next need not hear of it again.
// Nothing is visible before seal() has named the file.
import { type FileHandle } from "node:fs/promises";
import { giveChunk, takeChunk } from "../../shared/chunk-memory.ts";
import { assert, RingstowError } from "../../shared/errors.ts";
import { type BlockId } from "../../shared/ids.ts";
import { pieceBytes, streamChunkBytes } from "../../shared/limits.ts";
import { type BlockSeal, type BlockWriter, type Digest } from "../ports.ts";
import { encodeTail, type StoredSeal } from "./block-file-format.ts";
import { errnoOf } from "./durable-folder.ts";

const writeBytes = streamChunkBytes; // one write to the file; two buffers of it a writer
const syncAheadBytes = 16 * 1024 * 1024; // written since the last sync began: then the next one begins

/** What the folder does for a writer. */
export interface BlockFolder {
  readonly digest: Digest;
  /** Gives the synced temporary file its name, durably. Rejects when the name is taken. */
  publish(seal: StoredSeal): Promise<void>;
  /** Removes the temporary file when there still is one; the writer is gone. */
  drop(): Promise<void>;
}

export class BlockFileWriter implements BlockWriter {
  readonly #id: BlockId;
  readonly #file: FileHandle;
  readonly #folder: BlockFolder;
  #buffer: Uint8Array | undefined;
  #filled = 0;
  #spare: Uint8Array | undefined;
  /** The write of the other buffer; never rejects: a failure goes to `#failure`. */
  #flight: Promise<void> = Promise.resolve();
  #failure: Error | undefined;
  /** The sync beside the writes, while there is one; never rejects either. */
  #syncing: Promise<void> | undefined;
  #fileOffset = 0;
  /** Where the last sync began. */
  #syncOffset = 0;
  #size = 0;
  readonly #crcs: number[] = [];
  #pieceCrc = 0;
  #state: "open" | "sealing" | "sealed" | "ended" = "open";
  #aborted = false;
  #working: Promise<unknown> = Promise.resolve();
  #writing = false;
  #dropped: Promise<void> | undefined;

  constructor(id: BlockId, file: FileHandle, folder: BlockFolder) {
    this.#id = id;
    this.#file = file;
    this.#folder = folder;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#requireOpen("write");
    assert(!this.#writing, "one write() of a block at a time");
    this.#writing = true;
    const work = this.#take(chunk);
    this.#working = work.catch(() => {});
    try {
      await work;
    } catch (error) {
      // What cannot be removed now is removed at the next open; the first failure is the one to tell.
      await this.#giveUp().catch(() => {});
      throw explainFailure("write", this.#id, error);
    } finally {
      this.#writing = false;
    }
  }

  async seal(): Promise<BlockSeal> {
    this.#requireOpen("seal");
    assert(!this.#writing, "seal() after the last write()");
    this.#state = "sealing";
    const work = this.#finish();
    this.#working = work.catch(() => {});
    try {
      return await work;
    } catch (error) {
      // What cannot be removed now is removed at the next open; the first failure is the one to tell.
      await this.#giveUp().catch(() => {});
      throw explainFailure("seal", this.#id, error);
    }
  }

  async abort(): Promise<void> {
    this.#aborted = true;
    // A file operation under way ends first: its descriptor must not be closed under it.
    await this.#working;
    await this.#giveUp();
  }

  async #take(chunk: Uint8Array): Promise<void> {
    this.#digest(chunk);
    this.#size += chunk.length;
    for (let at = 0; at < chunk.length;) {
      const part = chunk.subarray(at, at + writeBytes - this.#filled);
      this.#buffer ??= takeChunk(writeBytes);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === writeBytes) await this.#flush();
    }
  }

  /** Starts to write what is gathered, when the write before has ended. */
  async #flush(): Promise<void> {
    await this.#flight;
    this.#check();
    const full = this.#buffer!;
    this.#buffer = this.#spare;
    this.#spare = full;
    this.#filled = 0;
    this.#flight = this.#writeAll(full).then(this.#syncAhead, this.#failed);
  }

  #syncAhead = (): void => {
    if (this.#syncing || this.#fileOffset - this.#syncOffset < syncAheadBytes) return;
    this.#syncOffset = this.#fileOffset;
    this.#syncing = this.#file.datasync().then(() => {
      this.#syncing = undefined;
    }, this.#failed);
  };

  #failed = (error: unknown): void => {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
  };

  async #finish(): Promise<BlockSeal> {
    if (this.#size % pieceBytes !== 0) this.#crcs.push(this.#pieceCrc);
    const seal: StoredSeal = {
      size: this.#size,
      pieceCrcs: Uint32Array.from(this.#crcs),
      pieceBytes,
    };
    const tail = encodeTail(this.#id, seal, this.#folder.digest);
    await this.#flight;
    this.#check();
    await this.#writeAll(Buffer.concat([this.#rest(), tail]));
    for (const buffer of [this.#buffer, this.#spare]) if (buffer) giveChunk(buffer);
    await this.#syncing;
    this.#check();
    await this.#file.datasync();
    await this.#file.close();
    this.#check();
    await this.#folder.publish(seal);
    this.#state = "sealed";
    await this.#folder.drop();
    return { size: seal.size, pieceCrcs: seal.pieceCrcs };
  }

  /** What is gathered and not yet on its way. */
  #rest(): Uint8Array {
    return this.#buffer?.subarray(0, this.#filled) ?? new Uint8Array(0);
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const { bytesWritten } = await this.#file.write(
        bytes,
        at,
        bytes.length - at,
        this.#fileOffset,
      );
      at += bytesWritten;
      this.#fileOffset += bytesWritten;
    }
  }

  /** Continues the CRC of the piece under way and closes those that the chunk completes. */
  #digest(chunk: Uint8Array): void {
    let inPiece = this.#size % pieceBytes;
    for (let at = 0; at < chunk.length;) {
      const part = chunk.subarray(at, at + pieceBytes - inPiece);
      this.#pieceCrc = this.#folder.digest.crc32(part, this.#pieceCrc);
      at += part.length;
      inPiece += part.length;
      if (inPiece < pieceBytes) continue;
      this.#crcs.push(this.#pieceCrc);
      this.#pieceCrc = 0;
      inPiece = 0;
    }
  }

  /** Closes and removes the temporary file, once; harmless after seal() succeeded. */
  #giveUp(): Promise<void> {
    if (this.#state === "sealed") return Promise.resolve();
    this.#state = "ended";
    this.#dropped ??= (async () => {
      await this.#flight;
      await this.#syncing;
      await this.#file.close();
      await this.#folder.drop();
    })();
    return this.#dropped;
  }

  #check(): void {
    if (this.#failure) throw this.#failure;
    if (this.#aborted) throw new Error("it was given up");
  }

  #requireOpen(action: string): void {
    if (this.#state !== "open" || this.#aborted) {
      throw new Error(`Cannot ${action} block ${this.#id}: it is sealed or given up`);
    }
  }
}

/** What a caller is told of a failed step with a block's file. `action` continues "Cannot …". */
export function explainFailure(action: string, id: BlockId, error: unknown): Error {
  const errno = errnoOf(error);
  const message = `Cannot ${action} block ${id}: ${error instanceof Error ? error.message : String(error)}`;
  if (errno === "ENOSPC" || errno === "EDQUOT") return new RingstowError("DiskFull", message);
  return errno === undefined ? new Error(message) : new RingstowError("Unavailable", message);
}
