// The disk of one simulated node: what survives when its process or its power goes. Stores and block files opened
// on it (memory-store.ts, memory-blocks.ts) hold what is not yet synced themselves, so losing it needs no code.
import { type BlockId } from "../../shared/ids.ts";
import { assert, RingstowError } from "../../shared/errors.ts";
import { compareUtf8 } from "../../shared/utf8.ts";
import { type BlockSeal, type Row, type StoreRange, type StoreWrite } from "../ports.ts";

export interface MemoryBlock extends BlockSeal {
  readonly data: Uint8Array;
  /** Blocks that share these bytes: they take room once. */
  names: number;
}

/** What one write() handed in: on the disk as a whole, or not at all. */
export type StoreBatch = readonly StoreWrite[];

/** An opened store or block folder; dead when the disk lost power since. */
export interface MemoryLease {
  /** Throws Unavailable when the power was lost, or `close` was called. */
  check(action: string): void;
  /** Whether the power went since this was opened: then nothing ever answers again. */
  lost(): boolean;
  close(): void;
}

const TiB = 2 ** 40;

/** Holds rows and blocks that are durable. Rows are sorted by the UTF-8 bytes of their keys. */
export class MemoryDisk {
  readonly blocks = new Map<BlockId, MemoryBlock>();
  /** Capacity in bytes; blocks use it up, rows do not. */
  readonly totalBytes: number;
  usedBytes = 0;
  /** A fault for tests: while it is set, syncs of the store and new blocks fail with it. */
  refusal: RingstowError | undefined;
  readonly #rows = new Map<string, Uint8Array>();
  readonly #keys: string[] = [];
  readonly #open = new Set<string>();
  #syncing: () => readonly StoreBatch[] = () => [];
  #life = 0;

  constructor(options: { freeBytes?: number | undefined } = {}) {
    this.totalBytes = options.freeBytes ?? TiB;
  }

  get freeBytes(): number {
    return this.totalBytes - this.usedBytes;
  }

  /**
   * The process died or the power went: what is not synced is lost, what is open is dead. Open again afterwards.
   * @param reached which of the batches whose sync was under way are on the disk all the same, in order; none if absent
   */
  powerLoss(reached: (batches: readonly StoreBatch[]) => readonly StoreBatch[] = () => []): void {
    const batches = this.#syncing();
    this.#life++;
    this.#open.clear();
    this.#syncing = () => [];
    for (const batch of reached(batches)) this.apply(batch);
  }

  /** How to ask the open store what it is syncing. */
  watchSyncs(syncing: () => readonly StoreBatch[]): void {
    this.#syncing = syncing;
  }

  /** The folder was deleted: everything is gone. What is open must be dead already. */
  wipe(): void {
    assert(this.#open.size === 0, "nothing of a wiped disk is open");
    this.blocks.clear();
    this.usedBytes = 0;
    this.#rows.clear();
    this.#keys.length = 0;
  }

  /** Opens one part of the disk, "store" or "blocks", which only one process can use at a time. */
  lease(part: "store" | "blocks"): MemoryLease {
    if (this.#open.has(part)) {
      throw new Error(`Cannot open the ${part} of a memory disk: another process uses it`);
    }
    this.#open.add(part);
    const life = this.#life;
    let closed = false;
    const lost = (): boolean => this.#life !== life;
    return {
      lost,
      check: (action) => {
        if (lost()) throw new RingstowError("Unavailable", `Cannot ${action}: the power was lost`);
        if (closed) throw new RingstowError("Unavailable", `Cannot ${action}: it is closed`);
      },
      close: () => {
        if (!closed && !lost()) this.#open.delete(part);
        closed = true;
      },
    };
  }

  row(key: string): Uint8Array | undefined {
    return this.#rows.get(key);
  }

  rows(range: StoreRange): Row[] {
    const found: Row[] = [];
    for (let i = this.#position(range.from); i < this.#keys.length; i++) {
      const key = this.#keys[i]!;
      if (found.length >= range.limit || compareUtf8(key, range.to) >= 0) break;
      found.push({ key, value: this.#rows.get(key)! });
    }
    return found;
  }

  apply(writes: readonly StoreWrite[]): void {
    for (const { key, value } of writes) {
      const known = this.#rows.has(key);
      if (value !== undefined) {
        if (!known) this.#keys.splice(this.#position(key), 0, key);
        this.#rows.set(key, value);
      } else if (known) {
        this.#keys.splice(this.#position(key), 1);
        this.#rows.delete(key);
      }
    }
  }

  /** A fault for tests: flips one bit of a block's data at `offset`. */
  corruptBlock(id: BlockId, offset: number): void {
    const block = this.blocks.get(id);
    assert(block && offset < block.size, `block ${id} has a byte ${offset}`);
    block.data[offset] = block.data[offset]! ^ 1;
  }

  /** Index of the first key at or after `key`. */
  #position(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareUtf8(this.#keys[middle]!, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
