// A block file that is written in any order before it is sealed. What nobody wrote reads as zeros, as in any sparse
// file. Its checks are computed at the seal, by reading back piece after piece: no more than one is held.
import { type FileHandle } from "node:fs/promises";
import { assert } from "../../shared/errors.ts";
import { type BlockId } from "../../shared/ids.ts";
import { pieceBytes } from "../../shared/limits.ts";
import { type BlockSeal, type DraftWriter } from "../ports.ts";
import { encodeTail, type StoredSeal } from "./block-file-format.ts";
import { type BlockFolder, explainFailure } from "./block-file-writer.ts";

export class BlockFileDraft implements DraftWriter {
  readonly #id: BlockId;
  readonly #file: FileHandle;
  readonly #folder: BlockFolder;
  #size = 0;
  #state: "open" | "sealing" | "sealed" | "ended" = "open";
  #aborted = false;
  /** The step under way; never rejects. */
  #working: Promise<unknown> = Promise.resolve();
  #busy = false;
  #dropped: Promise<void> | undefined;

  /** `file` is open for reading and writing, and empty. */
  constructor(id: BlockId, file: FileHandle, folder: BlockFolder) {
    this.#id = id;
    this.#file = file;
    this.#folder = folder;
  }

  get size(): number {
    return this.#size;
  }

  write(at: number, chunk: Uint8Array): Promise<void> {
    assert(Number.isSafeInteger(at) && at >= 0, "an offset is no negative number");
    return this.#step("write", async () => {
      await this.#writeAll(at, chunk);
      if (chunk.length > 0) this.#size = Math.max(this.#size, at + chunk.length);
    });
  }

  truncate(size: number): Promise<void> {
    assert(Number.isSafeInteger(size) && size >= 0, "a size is no negative number");
    return this.#step("truncate", async () => {
      await this.#file.truncate(size);
      this.#size = size;
    });
  }

  async seal(): Promise<BlockSeal> {
    let sealed: StoredSeal | undefined;
    try {
      await this.#step("seal", async () => {
        this.#state = "sealing";
        sealed = await this.#finish();
      });
    } catch (error) {
      // What cannot be removed now is removed at the next open; the first failure is the one to tell.
      if (this.#state === "sealing") await this.#giveUp().catch(() => {});
      throw error;
    }
    assert(sealed, "a seal that did not fail has ended");
    return { size: sealed.size, pieceCrcs: sealed.pieceCrcs };
  }

  async abort(): Promise<void> {
    this.#aborted = true;
    // A file operation under way ends first: its descriptor must not be closed under it.
    await this.#working;
    await this.#giveUp();
  }

  /** One step after another is the caller's duty. */
  async #step(action: string, run: () => Promise<void>): Promise<void> {
    if (this.#state !== "open" || this.#aborted) {
      throw new Error(`Cannot ${action} block ${this.#id}: it is sealed or given up`);
    }
    assert(!this.#busy, "one step of a draft at a time");
    this.#busy = true;
    const work = run();
    this.#working = work.catch(() => {});
    try {
      await work;
    } catch (error) {
      throw explainFailure(action, this.#id, error);
    } finally {
      this.#busy = false;
    }
  }

  async #finish(): Promise<StoredSeal> {
    const size = this.#size;
    // A write that failed half-way may have left bytes behind the end.
    await this.#file.truncate(size);
    const seal: StoredSeal = { size, pieceCrcs: await this.#readBack(size), pieceBytes };
    await this.#writeAll(size, encodeTail(this.#id, seal, this.#folder.digest));
    await this.#file.datasync();
    await this.#file.close();
    this.#check();
    await this.#folder.publish(seal);
    this.#state = "sealed";
    await this.#folder.drop();
    return seal;
  }

  async #readBack(size: number): Promise<Uint32Array> {
    const crcs = new Uint32Array(Math.ceil(size / pieceBytes));
    const buffer = Buffer.allocUnsafeSlow(Math.min(size, pieceBytes));
    for (let piece = 0; piece < crcs.length; piece++) {
      this.#check();
      const start = piece * pieceBytes;
      const length = Math.min(pieceBytes, size - start);
      for (let at = 0; at < length;) {
        const { bytesRead } = await this.#file.read(buffer, at, length - at, start + at);
        if (bytesRead === 0) throw new Error("it is cut off");
        at += bytesRead;
      }
      crcs[piece] = this.#folder.digest.crc32(buffer.subarray(0, length));
    }
    return crcs;
  }

  async #writeAll(offset: number, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const left = bytes.length - at;
      const { bytesWritten } = await this.#file.write(bytes, at, left, offset + at);
      at += bytesWritten;
    }
  }

  /** Closes and removes the temporary file, once; harmless after seal() succeeded. */
  #giveUp(): Promise<void> {
    if (this.#state === "sealed") return Promise.resolve();
    this.#state = "ended";
    this.#dropped ??= (async () => {
      await this.#file.close();
      await this.#folder.drop();
    })();
    return this.#dropped;
  }

  #check(): void {
    if (this.#aborted) throw new Error("it was given up");
  }
}
