// The BlockFiles port on a file system: <folder>/<first two hex digits>/<id>, temporary files in <folder>/tmp. One
// process owns the folder (the lock of the store beside it), so a name that was free stays free but for ourselves.
// A hard link of a block is named <id>.link: its footer names the block whose bytes it shares, so that only a file
// without that ending must hold its own id.
import { type FileHandle, open, rename } from "node:fs/promises";
import { join } from "node:path";
import { LRUCache } from "lru-cache";
import { giveChunk } from "../../shared/chunk-memory.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type BlockId, parseBlockId } from "../../shared/ids.ts";
import { sealsCachedMax } from "../../shared/limits.ts";
import {
  type BlockFiles,
  type BlockInfo,
  type BlockWriter,
  type Digest,
  type DiskUsage,
  type DraftWriter,
} from "../ports.ts";
import { damaged, fileBytes, type StoredSeal } from "./block-file-format.ts";
import { BlockFileDraft } from "./block-file-draft.ts";
import { openBlockFile, readPieces, readSeal } from "./block-file-reader.ts";
import { type BlockFolder, BlockFileWriter, explainFailure } from "./block-file-writer.ts";
import { LINK_ENDING, openBlockFolder } from "./block-folder.ts";
import { errnoOf, removeFile, spaceOf, syncFolder, usedBy } from "./durable-folder.ts";
import { hardLink } from "./hard-link.ts";
import { Sequence } from "./sequence.ts";

export interface DiskBlocksOptions {
  /** Where the blocks are; made when it does not exist. */
  readonly folder: string;
  /** Free bytes of the file system below which create() refuses. */
  readonly reserveBytes: number;
  readonly digest: Digest;
  /** Gives a file a second name; tests put in one that refuses. */
  readonly hardLink?: typeof hardLink | undefined;
}

class DiskBlocks implements BlockFiles {
  readonly #options: DiskBlocksOptions;
  /** Bytes of all block files, and how many there are: counted at open, kept since. */
  #usedBytes: number;
  #blocks: number;
  readonly #seals = new LRUCache<BlockId, StoredSeal>({ max: sealsCachedMax });
  /** Ids that are being named right now: the check for an older file and the rename are one step. */
  readonly #naming = new Set<BlockId>();
  readonly #writers = new Set<BlockWriter | DraftWriter>();
  /** Links and deletions, one after another: whether a name is the last of its bytes must not change meanwhile. */
  readonly #sequence = new Sequence();
  #temporaries = 0;
  #closed = false;

  constructor(options: DiskBlocksOptions, used: { bytes: number; blocks: number }) {
    this.#options = options;
    this.#usedBytes = used.bytes;
    this.#blocks = used.blocks;
  }

  create(id: BlockId): Promise<BlockWriter> {
    return this.#begin(id, (file, folder) => new BlockFileWriter(id, file, folder));
  }

  createDraft(id: BlockId): Promise<DraftWriter> {
    return this.#begin(id, (file, folder) => new BlockFileDraft(id, file, folder));
  }

  async link(from: BlockId, to: BlockId): Promise<BlockInfo> {
    this.#requireOpen();
    if (this.#naming.has(to)) throw explainFailure("link", to, new Error("it is being named"));
    this.#naming.add(to);
    try {
      const source = await this.#sealOf(from);
      if (!source) {
        throw new RingstowError("NoSuchKey", `Cannot link block ${from}: it does not exist`);
      }
      if (await this.#isLinked(to, source)) return { id: to, size: source.size };
      const linked = await this.#sequence.run(() => this.#hardLink(from, to));
      if (linked) {
        await this.#syncName(this.#pathOf(to) + LINK_ENDING, to);
        this.#blocks++;
        this.#seals.set(to, source);
        return { id: to, size: source.size };
      }
    } finally {
      this.#naming.delete(to);
    }
    return this.#copyBytes(from, to);
  }

  async *read(id: BlockId, from: number, to: number): AsyncIterable<Uint8Array> {
    this.#requireOpen();
    const opened = await this.#open(id);
    if (!opened) throw new RingstowError("NoSuchKey", `Cannot read block ${id}: it does not exist`);
    const { file, linked } = opened;
    try {
      const { digest } = this.#options;
      const seal = this.#seals.get(id) ?? (await readSeal(id, file, digest, linked));
      this.#seals.set(id, seal);
      if (!(0 <= from && from <= to && to <= seal.size)) {
        throw new RingstowError(
          "InvalidRange",
          `Cannot read bytes ${from} to ${to} of block ${id}: it has ${seal.size}`,
        );
      }
      yield* readPieces(id, file, seal, { from, to }, digest);
    } finally {
      await file.close();
    }
  }

  async stat(id: BlockId): Promise<BlockInfo | undefined> {
    this.#requireOpen();
    const opened = await this.#open(id);
    if (!opened) return undefined;
    const { file, linked } = opened;
    try {
      const known = this.#seals.get(id);
      if (!known) {
        const { size } = await readSeal(id, file, this.#options.digest, linked);
        return { id, size };
      }
      const { size: length } = await file.stat();
      if (length !== fileBytes(known.size, known.pieceBytes)) throw damaged(id, "it is cut off");
      return { id, size: known.size };
    } finally {
      await file.close();
    }
  }

  async delete(id: BlockId): Promise<boolean> {
    this.#requireOpen();
    const path = this.#pathOf(id);
    this.#seals.delete(id);
    const removed = await this.#sequence.run(async () => {
      const plain = await this.#remove(path);
      const linked = await this.#remove(path + LINK_ENDING);
      return plain || linked;
    });
    // Also when another call removed it a moment ago: "gone" must hold after a power loss.
    await syncFolder(this.#folderOf(id));
    return removed;
  }

  async usage(): Promise<DiskUsage> {
    this.#requireOpen();
    const space = await spaceOf(this.#options.folder);
    return { ...space, usedBytes: this.#usedBytes, blocks: this.#blocks };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#writers].map((writer) => writer.abort()));
  }

  async #begin<W extends BlockWriter | DraftWriter>(
    id: BlockId,
    make: (file: FileHandle, folder: BlockFolder) => W,
  ): Promise<W> {
    this.#requireOpen();
    const { folder, reserveBytes, digest } = this.#options;
    const { freeBytes } = await spaceOf(folder);
    if (freeBytes < reserveBytes) {
      throw new RingstowError(
        "DiskFull",
        `Cannot create block ${id}: ${freeBytes} bytes are free, ${reserveBytes} are reserved`,
      );
    }
    const temporary = join(folder, "tmp", `${id}.${this.#temporaries++}`);
    const file = await open(temporary, "wx+").catch((error: unknown) => {
      throw errnoOf(error) === "ENOSPC"
        ? new RingstowError("DiskFull", `Cannot create block ${id}: no space is left`)
        : error;
    });
    let named = false;
    const writer = make(file, {
      digest,
      publish: async (seal) => {
        await this.#publish(id, temporary, seal);
        named = true;
      },
      drop: async () => {
        this.#writers.delete(writer);
        if (!named) await removeFile(temporary);
      },
    });
    this.#writers.add(writer);
    return writer;
  }

  async #publish(id: BlockId, temporary: string, seal: StoredSeal): Promise<void> {
    const path = this.#pathOf(id);
    const taken = (): Error => new Error("it exists already");
    if (this.#naming.has(id)) throw taken();
    this.#naming.add(id);
    try {
      if ((await usedBy(path)) ?? (await usedBy(path + LINK_ENDING))) throw taken();
      await rename(temporary, path);
      await this.#syncName(path, id);
      this.#usedBytes += fileBytes(seal.size, seal.pieceBytes);
      this.#blocks++;
      this.#seals.set(id, seal);
    } finally {
      this.#naming.delete(id);
    }
  }

  /** Makes a new name durable, or takes it back: a block that was refused must not be found. */
  async #syncName(path: string, id: BlockId): Promise<void> {
    try {
      await syncFolder(this.#folderOf(id));
    } catch (error) {
      await removeFile(path);
      throw error;
    }
  }

  /** Whether `to` has the source's bytes already. Throws when it has others. */
  async #isLinked(to: BlockId, source: StoredSeal): Promise<boolean> {
    const known = await this.#sealOf(to);
    if (!known) return false;
    const same =
      known.size === source.size &&
      known.pieceBytes === source.pieceBytes &&
      known.pieceCrcs.every((crc, piece) => crc === source.pieceCrcs[piece]);
    if (!same) throw explainFailure("link", to, new Error("it exists already, with other bytes"));
    await syncFolder(this.#folderOf(to)); // it may be the name of a call that is not durable yet
    return true;
  }

  /** False when the file system refuses hard links, or one more of this file. */
  async #hardLink(from: BlockId, to: BlockId): Promise<boolean> {
    const give = this.#options.hardLink ?? hardLink;
    const source = this.#pathOf(from);
    for (const candidate of [source, source + LINK_ENDING]) {
      const outcome = await give(candidate, this.#pathOf(to) + LINK_ENDING).catch(
        (error: unknown) => {
          throw explainFailure("link", from, error);
        },
      );
      if (outcome !== "missing") return outcome === "linked";
    }
    throw new RingstowError("NoSuchKey", `Cannot link block ${from}: it does not exist`);
  }

  async #copyBytes(from: BlockId, to: BlockId): Promise<BlockInfo> {
    const writer = await this.create(to);
    try {
      const { size } = (await this.stat(from)) ?? { size: 0 }; // read() tells that it is gone
      for await (const chunk of this.read(from, 0, size)) {
        await writer.write(chunk);
        giveChunk(chunk);
      }
      await writer.seal();
      return { id: to, size };
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }

  async #sealOf(id: BlockId): Promise<StoredSeal | undefined> {
    const opened = await this.#open(id);
    if (!opened) return undefined;
    try {
      return await readSeal(id, opened.file, this.#options.digest, opened.linked);
    } finally {
      await opened.file.close();
    }
  }

  async #open(id: BlockId): Promise<{ file: FileHandle; linked: boolean } | undefined> {
    const path = this.#pathOf(id);
    const plain = await openBlockFile(path);
    if (plain) return { file: plain, linked: false };
    const linked = await openBlockFile(path + LINK_ENDING);
    return linked && { file: linked, linked: true };
  }

  /** Removes one name; its bytes count until the last name is gone. */
  async #remove(path: string): Promise<boolean> {
    const used = await usedBy(path);
    if (!used || !(await removeFile(path))) return false;
    if (used.names === 1) this.#usedBytes -= used.bytes;
    this.#blocks--;
    return true;
  }

  #folderOf(id: BlockId): string {
    return join(this.#options.folder, id.slice(0, 2));
  }

  #pathOf(id: BlockId): string {
    // Ids come from peers: what is no id must not become a path.
    return join(this.#folderOf(parseBlockId(id)), id);
  }

  #requireOpen(): void {
    if (this.#closed) throw new RingstowError("Unavailable", "Cannot use the blocks: closed");
  }
}

/**
 * Opens the blocks in `folder`: makes its sub-folders, removes temporary files that an earlier process left, counts
 * what is there. Throws RingstowError Unavailable when the folder cannot be used.
 */
export async function openDiskBlocks(options: DiskBlocksOptions): Promise<BlockFiles> {
  const { folder } = options;
  try {
    return new DiskBlocks(options, await openBlockFolder(folder));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new RingstowError("Unavailable", `Cannot open block folder "${folder}": ${reason}`);
  }
}
