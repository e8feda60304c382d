// The BlockFiles port in memory, for tests and the simulator: the same checks and errors as disk-blocks.ts, the
// sync modelled as `syncMs` of the given clock. Deterministic: no other source of time or chance.
import { takeChunk } from "../../shared/chunk-memory.ts";
import { assert, RingstowError } from "../../shared/errors.ts";
import { type BlockId } from "../../shared/ids.ts";
import { pieceBytes, streamChunkBytes } from "../../shared/limits.ts";
import {
  type BlockFiles,
  type BlockInfo,
  type BlockSeal,
  type BlockWriter,
  type Clock,
  type DiskUsage,
  type DraftWriter,
} from "../ports.ts";
import { type MemoryBlock, type MemoryDisk, type MemoryLease } from "./memory-disk.ts";
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
    this.#requireRoom(id);
    const draft = new MemoryDraft(this, id);
    return {
      write: (chunk) => draft.write(draft.size, chunk),
      seal: () => draft.seal(),
      abort: () => draft.abort(),
    };
  }

  async createDraft(id: BlockId): Promise<DraftWriter> {
    this.#requireRoom(id);
    return new MemoryDraft(this, id);
  }

  async link(from: BlockId, to: BlockId): Promise<BlockInfo> {
    this.lease.check("link a block");
    const { disk } = this;
    const source = this.#find(from);
    if (!source) {
      throw new RingstowError("NoSuchKey", `Cannot link block ${from}: it does not exist`);
    }
    await this.sync();
    if (disk.refusal) throw disk.refusal;
    const known = disk.blocks.get(to);
    if (known && (known.size !== source.size || !sameCrcs(known, source))) {
      throw new Error(`Cannot link block ${to}: it exists already, with other bytes`);
    }
    // As with files the source may have been deleted meanwhile: its bytes have a second name by then.
    if (!known) {
      if (source.names === 0) disk.usedBytes += source.size;
      source.names++;
      disk.blocks.set(to, source);
    }
    return { id: to, size: source.size };
  }

  async *read(id: BlockId, from: number, to: number): AsyncIterable<Uint8Array> {
    this.lease.check("read a block");
    const block = this.#find(id);
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
      const chunk = takeChunk(end - at);
      chunk.set(block.data.subarray(at, end));
      yield chunk;
      at = end;
    }
  }

  async stat(id: BlockId): Promise<BlockInfo | undefined> {
    this.lease.check("look at a block");
    const block = this.#find(id);
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
    block.names--;
    if (block.names === 0) this.disk.usedBytes -= block.size;
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

  #find(id: BlockId): MemoryBlock | undefined {
    return this.#deleting.has(id) ? undefined : this.disk.blocks.get(id);
  }

  #requireRoom(id: BlockId): void {
    this.lease.check("create a block");
    if (this.disk.refusal) throw this.disk.refusal;
    const reserveBytes = this.#options.reserveBytes ?? 0;
    if (this.freeBytes < reserveBytes) {
      throw new RingstowError(
        "DiskFull",
        `Cannot create block ${id}: ${this.freeBytes} bytes are free, ${reserveBytes} are reserved`,
      );
    }
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

class MemoryDraft implements DraftWriter {
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

  get size(): number {
    return this.#size;
  }

  async write(at: number, chunk: Uint8Array): Promise<void> {
    assert(Number.isSafeInteger(at) && at >= 0, "an offset is no negative number");
    this.#check("write");
    if (chunk.length === 0) return;
    this.#resize("write", Math.max(this.#size, at + chunk.length));
    this.#data.set(chunk, at);
  }

  async truncate(size: number): Promise<void> {
    assert(Number.isSafeInteger(size) && size >= 0, "a size is no negative number");
    this.#check("truncate");
    this.#resize("truncate", size);
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
    disk.blocks.set(this.#id, { size: data.length, pieceCrcs, data, names: 1 });
    disk.usedBytes += data.length;
    return { size: data.length, pieceCrcs };
  }

  /** Bytes between the old and the new end are zeros. */
  #resize(action: string, size: number): void {
    if (this.#blocks.freeBytes < size - this.#size) {
      throw new RingstowError("DiskFull", `Cannot ${action} block ${this.#id}: no space is left`);
    }
    if (size > this.#data.length) {
      const grown = new Uint8Array(Math.max(2 * this.#data.length, size));
      grown.set(this.#data.subarray(0, this.#size));
      this.#data = grown;
    } else if (size < this.#size) this.#data.fill(0, size, this.#size);
    this.#blocks.stagedBytes += size - this.#size;
    this.#size = size;
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

function sameCrcs(a: BlockSeal, b: BlockSeal): boolean {
  return a.pieceCrcs.every((crc, piece) => crc === b.pieceCrcs[piece]);
}

/**
 * Blocks of one memory disk. A sealed block is durable `syncMs` after seal() was called. After `disk.powerLoss()`
 * staged bytes are lost, pending syncs never resolve, and later calls reject.
 */
export function openMemoryBlocks(disk: MemoryDisk, clock: Clock, options: Options): BlockFiles {
  return new MemoryBlocks(disk, clock, options);
}
