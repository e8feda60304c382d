// The BlockFiles port on a file system: <folder>/<first two hex digits>/<id>, temporary files in <folder>/tmp. One
// process owns the folder (the lock of the store beside it), so a name that was free stays free but for ourselves.
import { mkdir, open, readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { LRUCache } from "lru-cache";
import { RingstowError } from "../../shared/errors.ts";
import { type BlockId, parseBlockId } from "../../shared/ids.ts";
import { sealsCachedMax } from "../../shared/limits.ts";
import {
  type BlockFiles,
  type BlockInfo,
  type BlockWriter,
  type Digest,
  type DiskUsage,
} from "../ports.ts";
import { damaged, fileBytes, type StoredSeal } from "./block-file-format.ts";
import { openBlockFile, readPieces, readSeal } from "./block-file-reader.ts";
import { BlockFileWriter } from "./block-file-writer.ts";
import {
  errnoOf,
  lengthOf,
  makeFolder,
  removeFile,
  spaceOf,
  syncFolder,
} from "./durable-folder.ts";

export interface DiskBlocksOptions {
  /** Where the blocks are; made when it does not exist. */
  readonly folder: string;
  /** Free bytes of the file system below which create() refuses. */
  readonly reserveBytes: number;
  readonly digest: Digest;
}

class DiskBlocks implements BlockFiles {
  readonly #options: DiskBlocksOptions;
  /** Bytes of all block files, and how many there are: counted at open, kept since. */
  #usedBytes: number;
  #blocks: number;
  readonly #seals = new LRUCache<BlockId, StoredSeal>({ max: sealsCachedMax });
  /** Ids that are being named right now: the check for an older file and the rename are one step. */
  readonly #naming = new Set<BlockId>();
  readonly #writers = new Set<BlockWriter>();
  #temporaries = 0;
  #closed = false;

  constructor(options: DiskBlocksOptions, used: { bytes: number; blocks: number }) {
    this.#options = options;
    this.#usedBytes = used.bytes;
    this.#blocks = used.blocks;
  }

  async create(id: BlockId): Promise<BlockWriter> {
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
    const file = await open(temporary, "wx").catch((error: unknown) => {
      throw errnoOf(error) === "ENOSPC"
        ? new RingstowError("DiskFull", `Cannot create block ${id}: no space is left`)
        : error;
    });
    let named = false;
    const writer = new BlockFileWriter(id, file, {
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

  async *read(id: BlockId, from: number, to: number): AsyncIterable<Uint8Array> {
    this.#requireOpen();
    const file = await openBlockFile(this.#pathOf(id));
    if (!file) throw new RingstowError("NoSuchKey", `Cannot read block ${id}: it does not exist`);
    try {
      const { digest } = this.#options;
      const seal = this.#seals.get(id) ?? (await readSeal(id, file, digest));
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
    const file = await openBlockFile(this.#pathOf(id));
    if (!file) return undefined;
    try {
      const known = this.#seals.get(id);
      if (!known) {
        const { size } = await readSeal(id, file, this.#options.digest);
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
    const length = await lengthOf(path);
    const existed = length !== undefined && (await removeFile(path));
    if (existed) {
      this.#usedBytes -= length;
      this.#blocks--;
    }
    // Also when another call removed it a moment ago: "gone" must hold after a power loss.
    await syncFolder(this.#folderOf(id));
    return existed;
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

  async #publish(id: BlockId, temporary: string, seal: StoredSeal): Promise<void> {
    const path = this.#pathOf(id);
    const taken = (): Error => new Error("it exists already");
    if (this.#naming.has(id)) throw taken();
    this.#naming.add(id);
    try {
      if ((await lengthOf(path)) !== undefined) throw taken();
      await rename(temporary, path);
      try {
        await syncFolder(this.#folderOf(id));
      } catch (error) {
        // The name may or may not last: a block that was refused must not be found.
        await removeFile(path);
        throw error;
      }
      this.#usedBytes += fileBytes(seal.size, seal.pieceBytes);
      this.#blocks++;
      this.#seals.set(id, seal);
    } finally {
      this.#naming.delete(id);
    }
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
    await makeFolder(folder);
    const names = new Set(await readdir(folder));
    // All at once, so that one sync makes them durable and no block waits for its folder.
    for (const name of ["tmp", ...fanOut()]) {
      if (!names.has(name)) await mkdir(join(folder, name));
    }
    await syncFolder(folder);
    for (const name of await readdir(join(folder, "tmp"))) {
      await removeFile(join(folder, "tmp", name));
    }
    let bytes = 0;
    let blocks = 0;
    for (const name of fanOut()) {
      for (const id of await readdir(join(folder, name))) {
        const length = /^[0-9a-f]{32}$/u.test(id)
          ? await lengthOf(join(folder, name, id))
          : undefined;
        if (length === undefined) continue;
        bytes += length;
        blocks++;
      }
    }
    return new DiskBlocks(options, { bytes, blocks });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new RingstowError("Unavailable", `Cannot open block folder "${folder}": ${reason}`);
  }
}

function fanOut(): string[] {
  return Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"));
}
