// The Store port in memory, with the disk's behaviour that matters: a batch is durable only after a sync that takes
// `syncMs`, batches that wait share one, and a power loss drops what was not synced. For tests and the simulator.
import { type RingstowError } from "../../shared/errors.ts";
import { compareUtf8 } from "../../shared/utf8.ts";
import { type BlockId } from "../../shared/ids.ts";
import { type Clock, type Row, type Store, type StoreRange, type StoreWrite } from "../ports.ts";

export interface DurableBlock {
  readonly bytes: Uint8Array;
  readonly pieceCrcs: Uint32Array;
}

/** What survives a crash: rows and sealed blocks. One at a time is open on it. */
export class MemoryDisk {
  readonly rows = new Map<string, Uint8Array>();
  readonly blocks = new Map<BlockId, DurableBlock>();
  /** Sorted keys of `rows`; rebuilt when a key was added or removed. */
  sortedKeys: string[] | undefined;
  freeBytes: number;
  readonly totalBytes: number;
  /** Raised by a power loss: what was opened before is dead. */
  generation = 0;
  /** When set, writes and block creations fail with it: a disk that refuses. */
  refusal: RingstowError | undefined;

  constructor(options: { freeBytes?: number } = {}) {
    this.freeBytes = options.freeBytes ?? 1e12;
    this.totalBytes = this.freeBytes;
  }

  /** Cuts the power: un-synced writes are gone, stores open on this disk never answer again. */
  powerLoss(): void {
    this.generation++;
  }

  apply(writes: readonly StoreWrite[]): void {
    for (const { key, value } of writes) {
      if (value === undefined) {
        if (this.rows.delete(key)) this.sortedKeys = undefined;
      } else {
        if (!this.rows.has(key)) this.sortedKeys = undefined;
        this.rows.set(key, value);
      }
    }
  }
}

export interface MemoryStoreOptions {
  /** Milliseconds from a write to its durability. */
  readonly syncMs: number;
}

interface Waiting {
  readonly writes: readonly StoreWrite[];
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export function openMemoryStore(
  disk: MemoryDisk,
  clock: Clock,
  options: MemoryStoreOptions,
): Store {
  const generation = disk.generation;
  let waiting: Waiting[] = [];
  let syncing = false;
  let closed = false;
  let last: Promise<void> = Promise.resolve();

  const alive = (): boolean => disk.generation === generation;
  const requireOpen = (): void => {
    if (closed || !alive()) throw new Error("Cannot use the store: it is closed");
  };
  const sync = (): void => {
    if (syncing || waiting.length === 0) return;
    syncing = true;
    const batch = waiting;
    waiting = [];
    clock.after(options.syncMs, () => {
      if (!alive()) return;
      syncing = false;
      for (const { writes, resolve, reject } of batch) {
        if (disk.refusal) {
          reject(disk.refusal);
          continue;
        }
        disk.apply(writes);
        resolve();
      }
      sync();
    });
  };

  return {
    get(key) {
      requireOpen();
      return disk.rows.get(key);
    },
    async range(range: StoreRange): Promise<Row[]> {
      requireOpen();
      return rangeOf(disk, range);
    },
    write(writes) {
      if (closed || !alive()) return Promise.reject(new Error("Cannot write: the store is closed"));
      const durable = new Promise<void>((resolve, reject) => {
        waiting.push({ writes, resolve, reject });
      });
      last = durable.then(
        () => undefined,
        () => undefined,
      );
      sync();
      return durable;
    },
    settled: () => last,
    async close() {
      await last;
      closed = true;
    },
  };
}

function rangeOf(disk: MemoryDisk, { from, to, limit }: StoreRange): Row[] {
  disk.sortedKeys ??= [...disk.rows.keys()].toSorted(compareUtf8);
  const keys = disk.sortedKeys;
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareUtf8(keys[middle]!, from) < 0) low = middle + 1;
    else high = middle;
  }
  const rows: Row[] = [];
  for (let i = low; i < keys.length && rows.length < limit; i++) {
    const key = keys[i]!;
    if (compareUtf8(key, to) >= 0) break;
    rows.push({ key, value: disk.rows.get(key)! });
  }
  return rows;
}
