// The Store port in memory, for tests and the simulator. Like the real one it commits in groups: one sync is under
// way at a time, what comes meanwhile waits for the next. Deterministic: only the given clock.
import { assert, RingstowError } from "../../shared/errors.ts";
import { type Clock, type Row, type Store, type StoreRange, type StoreWrite } from "../ports.ts";
import { type MemoryDisk, type MemoryLease } from "./memory-disk.ts";

export { MemoryDisk } from "./memory-disk.ts";

export interface MemoryStoreOptions {
  /** Milliseconds that a sync takes. */
  readonly syncMs: number;
}

interface Waiting {
  readonly writes: readonly StoreWrite[];
  readonly done: () => void;
  readonly fail: (error: Error) => void;
}

class MemoryStore implements Store {
  readonly #disk: MemoryDisk;
  readonly #lease: MemoryLease;
  readonly #clock: Clock;
  readonly #syncMs: number;
  #syncing: Waiting[] = [];
  #syncStartedMs = 0;
  #waiting: Waiting[] = [];
  #idle: (() => void)[] = [];
  #closing = false;

  constructor(disk: MemoryDisk, clock: Clock, syncMs: number) {
    this.#disk = disk;
    this.#lease = disk.lease("store");
    disk.watchSyncs(() => this.#syncing.map(({ writes }) => writes));
    this.#clock = clock;
    this.#syncMs = syncMs;
  }

  get(key: string): Uint8Array | undefined {
    this.#lease.check("read from the store");
    return this.#disk.row(key);
  }

  async range(range: StoreRange): Promise<Row[]> {
    this.#lease.check("read from the store");
    return this.#disk.rows(range);
  }

  write(writes: readonly StoreWrite[]): Promise<void> {
    // The promise of the queue itself, not one that resolves some reactions later: settled() must not overtake it.
    return new Promise((done, fail) => {
      this.#lease.check("write to the store");
      if (this.#closing) {
        throw new RingstowError("Unavailable", "Cannot write to the store: it is closed");
      }
      for (const { key } of writes) assert(key.length > 0, "a store row has a key");
      this.#enqueue({ writes, done, fail });
    });
  }

  settled(): Promise<void> {
    if (this.#syncing.length === 0) return Promise.resolve();
    // An empty write at the end of the queue: it ends after all that were called before.
    return new Promise((done) => this.#enqueue({ writes: [], done, fail: () => done() }));
  }

  async close(): Promise<void> {
    this.#closing = true;
    if (this.#lease.lost()) return;
    if (this.#syncing.length > 0) await new Promise<void>((done) => this.#idle.push(done));
    this.#lease.close();
  }

  #enqueue(entry: Waiting): void {
    // All that is handed in at one moment shares the sync that begins at this moment.
    if (this.#syncing.length > 0 && this.#clock.monotonicMs() !== this.#syncStartedMs) {
      this.#waiting.push(entry);
      return;
    }
    this.#syncing.push(entry);
    if (this.#syncing.length === 1) this.#startSync();
  }

  #startSync(): void {
    this.#syncStartedMs = this.#clock.monotonicMs();
    this.#clock.after(this.#syncMs, () => this.#endSync());
  }

  #endSync(): void {
    if (this.#lease.lost()) return;
    const ended = this.#syncing;
    const { refusal } = this.#disk;
    if (!refusal) for (const { writes } of ended) this.#disk.apply(writes);
    this.#syncing = this.#waiting;
    this.#waiting = [];
    if (this.#syncing.length > 0) this.#startSync();
    for (const { done, fail } of ended) {
      if (refusal) fail(refusal);
      else done();
    }
    if (this.#syncing.length > 0) return;
    const idle = this.#idle;
    this.#idle = [];
    for (const done of idle) done();
  }
}

/**
 * A write becomes visible and durable `syncMs` after its sync began. After `disk.powerLoss()` pending promises of
 * this store never resolve and later calls reject; then the disk can be opened again.
 */
export function openMemoryStore(
  disk: MemoryDisk,
  clock: Clock,
  options: MemoryStoreOptions,
): Store {
  return new MemoryStore(disk, clock, options.syncMs);
}
