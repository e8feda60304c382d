// The BlockFiles port in memory, for tests and the simulator: the same checks and errors as disk-blocks.ts, the
// sync modelled as `syncMs` of the given clock. Deterministic: no other source of time or chance.
import { RingstowError } from "../../shared/errors.ts";
import { type BlockId } from "../../shared/ids.ts";
import { pieceBytes, streamChunkBytes } from "../../shared/limits.ts";
import {
  type BlockFiles,
  type BlockInfo,
  type BlockSeal,
  type BlockWriter,
  type Clock,
  type DiskUsage,
} from "../ports.ts";
import { type MemoryDisk, type MemoryLease } from "./memory-disk.ts";
import { nodeDigest } from "./node-digest.ts";

interface Options {
  readonly syncMs: number;
  /** Free bytes below which create() refuses; 0 when not given. */
  readonly reserveBytes?: number | undefined;
}

class MemoryBlocks implements BlockFiles {
  readonly disk: MemoryDisk;
  readonly lease: MemoryLease;
  readonly #clock: Clock;
  readonly #options: Options;
  /** Bytes of writers that are neither sealed nor given up: they take room on a real disk too. */
  stagedBytes = 0;
  readonly #deleting = new Set<BlockId>();

  constructor(disk: MemoryDisk, clock: Clock, options: Options) {
    this.disk = disk;
    this.lease = disk.lease("blocks");
    this.#clock = clock;
    this.#options = options;
  }

  get freeBytes(): number {
    return this.disk.freeBytes - this.stagedBytes;
  }

  async create(id: BlockId): Promise<BlockWriter> {
    this.lease.check("create a block");
    if (this.disk.refusal) throw this.disk.refusal;
    const reserveBytes = this.#options.reserveBytes ?? 0;
    if (this.freeBytes < reserveBytes) {
      throw new RingstowError(
        "DiskFull",
        `Cannot create block ${id}: ${this.freeBytes} bytes are free, ${reserveBytes} are reserved`,
      );
    }
    return new MemoryWriter(this, id);
  }

  async *read(id: BlockId, from: number, to: number): AsyncIterable<Uint8Array> {
    this.lease.check("read a block");
    const block = this.#deleting.has(id) ? undefined : this.disk.blocks.get(id);
    if (!block) throw new RingstowError("NoSuchKey", `Cannot read block ${id}: it does not exist`);
    if (!(0 <= from && from <= to && to <= block.size)) {
      throw new RingstowError(
        "InvalidRange",
        `Cannot read bytes ${from} to ${to} of block ${id}: it has ${block.size}`,
      );
    }
    for (let at = from; at < to;) {
      this.lease.check("read a block");
      const end = Math.min(to, at - (at % streamChunkBytes) + streamChunkBytes);
      for (let piece = Math.floor(at / pieceBytes); piece * pieceBytes < end; piece++) {
        const bytes = block.data.subarray(piece * pieceBytes, (piece + 1) * pieceBytes);
        if (nodeDigest.crc32(bytes) !== block.pieceCrcs[piece]) {
          throw new RingstowError(
            "Corrupt",
            `Cannot read block ${id}: piece ${piece} fails its check`,
          );
        }
      }
      yield block.data.slice(at, end);
      at = end;
    }
  }

  async stat(id: BlockId): Promise<BlockInfo | undefined> {
    this.lease.check("look at a block");
    const block = this.#deleting.has(id) ? undefined : this.disk.blocks.get(id);
    return block && { id, size: block.size };
  }

  async delete(id: BlockId): Promise<boolean> {
    this.lease.check("delete a block");
    const block = this.disk.blocks.get(id);
    if (!block || this.#deleting.has(id)) return false;
    // Gone from sight at once, from the disk with the sync: a power loss before it brings the block back.
    this.#deleting.add(id);
    await this.sync();
    this.#deleting.delete(id);
    this.disk.blocks.delete(id);
    this.disk.usedBytes -= block.size;
    return true;
  }

  async usage(): Promise<DiskUsage> {
    this.lease.check("measure the disk");
    const { disk } = this;
    return {
      freeBytes: this.freeBytes,
      totalBytes: disk.totalBytes,
      usedBytes: disk.usedBytes,
      blocks: disk.blocks.size - this.#deleting.size,
    };
  }

  async close(): Promise<void> {
    this.lease.close();
  }

  /** Resolves when what was done is durable; never when the power went before. */
  sync(): Promise<void> {
    return new Promise((resolve) =>
      this.#clock.after(this.#options.syncMs, () => {
        if (!this.lease.lost()) resolve();
      }),
    );
  }
}

class MemoryWriter implements BlockWriter {
  readonly #blocks: MemoryBlocks;
  readonly #id: BlockId;
  #data: Uint8Array = new Uint8Array(0);
  #size = 0;
  #state: "open" | "sealing" | "ended" = "open";
  #sealing: Promise<unknown> = Promise.resolve();
  #aborted = false;

  constructor(blocks: MemoryBlocks, id: BlockId) {
    this.#blocks = blocks;
    this.#id = id;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#check("write");
    if (this.#blocks.freeBytes < chunk.length) {
      this.#giveUp();
      throw new RingstowError("DiskFull", `Cannot write block ${this.#id}: no space is left`);
    }
    if (this.#size + chunk.length > this.#data.length) {
      const grown = new Uint8Array(Math.max(2 * this.#data.length, this.#size + chunk.length));
      grown.set(this.#data.subarray(0, this.#size));
      this.#data = grown;
    }
    this.#data.set(chunk, this.#size);
    this.#size += chunk.length;
    this.#blocks.stagedBytes += chunk.length;
  }

  async seal(): Promise<BlockSeal> {
    this.#check("seal");
    this.#state = "sealing";
    const sealed = this.#finish();
    this.#sealing = sealed.catch(() => {});
    return sealed;
  }

  async abort(): Promise<void> {
    this.#aborted = true;
    await this.#sealing;
    if (this.#state !== "ended") this.#giveUp();
  }

  async #finish(): Promise<BlockSeal> {
    const data = this.#data.slice(0, this.#size);
    const pieceCrcs = new Uint32Array(Math.ceil(data.length / pieceBytes));
    for (let piece = 0; piece < pieceCrcs.length; piece++) {
      pieceCrcs[piece] = nodeDigest.crc32(
        data.subarray(piece * pieceBytes, (piece + 1) * pieceBytes),
      );
    }
    await this.#blocks.sync();
    this.#giveUp();
    const { disk } = this.#blocks;
    if (this.#aborted) throw new Error(`Cannot seal block ${this.#id}: it was given up`);
    if (disk.refusal) throw disk.refusal;
    if (disk.blocks.has(this.#id)) {
      throw new Error(`Cannot seal block ${this.#id}: it exists already`);
    }
    disk.blocks.set(this.#id, { size: data.length, pieceCrcs, data });
    disk.usedBytes += data.length;
    return { size: data.length, pieceCrcs };
  }

  #check(action: string): void {
    this.#blocks.lease.check(`${action} a block`);
    if (this.#state !== "open" || this.#aborted) {
      throw new Error(`Cannot ${action} block ${this.#id}: it is sealed or given up`);
    }
  }

  #giveUp(): void {
    this.#state = "ended";
    this.#blocks.stagedBytes -= this.#size;
    this.#data = new Uint8Array(0);
    this.#size = 0;
  }
}

/**
 * Blocks of one memory disk. A sealed block is durable `syncMs` after seal() was called. After `disk.powerLoss()`
 * staged bytes are lost, pending syncs never resolve, and later calls reject.
 */
export function openMemoryBlocks(disk: MemoryDisk, clock: Clock, options: Options): BlockFiles {
  return new MemoryBlocks(disk, clock, options);
}
