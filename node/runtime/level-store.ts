// The Store port over LevelDB (classic-level), with a group commit of our own: one synced batch is under way at a
// time, all that comes meanwhile goes into the next. LevelDB applies a batch to what readers see only after its log
// is synced, which is the order that the port demands.
//
// After a failed commit the store refuses every later write until it is opened again: LevelDB's log goes on at a
// wrong offset after a torn append (log_writer.cc counts bytes that did not reach the file), so a batch that
// "succeeds" afterwards could be dropped by the next recovery.
import { type ClassicLevel } from "classic-level";
import { assert, RingstowError } from "../../shared/errors.ts";
import { storeBatchBytesMax, storeWaitingMax } from "../../shared/limits.ts";
import { type Row, type Store, type StoreRange, type StoreWrite } from "../ports.ts";
import { openLevel } from "./open-level.ts";

interface Waiting {
  readonly writes: readonly StoreWrite[];
  readonly done: () => void;
  readonly fail: (error: Error) => void;
}

const rowOverheadBytes = 32; // per row in a batch, about
const rangeReadBytes = 1024 * 1024; // what an iterator fetches at once
const WRITE_OPTIONS = { sync: true, keyEncoding: "utf8", valueEncoding: "view" } as const;
// Keys of get() go in as bytes: with string keys classic-level 3.0.0 cuts a key whose last character does not fit
// into its shared buffer, and then finds another row.
const GET_OPTIONS = { keyEncoding: "buffer", valueEncoding: "buffer" } as const;

/** A plain view: a Buffer's slice() would share memory, an Uint8Array's copies. */
const plainBytes = (buffer: Uint8Array): Uint8Array =>
  new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);

class LevelStore implements Store {
  readonly #level: ClassicLevel<string, Uint8Array>;
  readonly #waiting: Waiting[] = [];
  /** Writes that stand before `#head` in `#waiting` were taken already. */
  #head = 0;
  #committing = false;
  #failure: RingstowError | undefined;
  #idle: (() => void)[] = [];
  #state: "open" | "closing" | "closed" = "open";

  constructor(level: ClassicLevel<string, Uint8Array>) {
    this.#level = level;
  }

  get(key: string): Uint8Array | undefined {
    this.#requireOpen();
    try {
      const value = this.#level.getSync<Buffer, Buffer>(Buffer.from(key, "utf8"), GET_OPTIONS);
      return value && plainBytes(value);
    } catch (error) {
      throw storeError("read from", error);
    }
  }

  async range({ from, to, limit }: StoreRange): Promise<Row[]> {
    this.#requireOpen();
    // The iterator takes its snapshot here, before the first await.
    const iterator = this.#level.iterator<string, Buffer>({
      gte: from,
      lt: to,
      limit,
      keyEncoding: "utf8",
      valueEncoding: "buffer",
      highWaterMarkBytes: rangeReadBytes,
    });
    try {
      const entries = await iterator.all();
      return entries.map(([key, value]) => ({ key, value: plainBytes(value) }));
    } catch (error) {
      throw storeError("read from", error);
    }
  }

  write(writes: readonly StoreWrite[]): Promise<void> {
    return new Promise((done, fail) => {
      if (this.#state !== "open") throw closedError();
      if (this.#failure) throw this.#failure;
      if (this.#waiting.length - this.#head >= storeWaitingMax) {
        throw new RingstowError(
          "SlowDown",
          `Cannot write to the store: ${storeWaitingMax} writes wait`,
        );
      }
      // One bad row must not fail the writers that share its batch.
      for (const { key, value } of writes) {
        assert(key.length > 0, "a store row has a key");
        assert(value === undefined || value instanceof Uint8Array, "a store value is bytes");
      }
      this.#enqueue({ writes, done, fail });
    });
  }

  settled(): Promise<void> {
    if (!this.#committing) return Promise.resolve();
    const ended = Promise.withResolvers<void>();
    // An empty write at the end of the queue: it ends after all that were called before.
    this.#enqueue({ writes: [], done: ended.resolve, fail: () => ended.resolve() });
    return ended.promise;
  }

  async close(): Promise<void> {
    if (this.#state !== "open") return;
    this.#state = "closing";
    if (this.#committing) await new Promise<void>((done) => this.#idle.push(done));
    this.#state = "closed";
    await this.#level.close();
  }

  #enqueue(entry: Waiting): void {
    this.#waiting.push(entry);
    if (this.#committing) return;
    this.#committing = true;
    // After the turn's other callbacks: their writes share the sync.
    setImmediate(() => void this.#commitAll());
  }

  async #commitAll(): Promise<void> {
    while (this.#head < this.#waiting.length) {
      const group = this.#takeGroup();
      try {
        if (this.#failure) throw this.#failure;
        await this.#commit(group);
        for (const { done } of group) done();
      } catch (error) {
        this.#failure ??= storeError("write to", error);
        for (const { fail } of group) fail(this.#failure);
      }
      // Lets the writers just answered call again, so that they share the next sync.
      await new Promise((resume) => setImmediate(resume));
    }
    this.#waiting.length = 0;
    this.#head = 0;
    this.#committing = false;
    const idle = this.#idle;
    this.#idle = [];
    for (const done of idle) done();
  }

  async #commit(group: readonly Waiting[]): Promise<void> {
    const operations: (
      | { type: "put"; key: string; value: Uint8Array }
      | { type: "del"; key: string }
    )[] = [];
    for (const { writes } of group) {
      for (const { key, value } of writes) {
        operations.push(value === undefined ? { type: "del", key } : { type: "put", key, value });
      }
    }
    if (operations.length > 0) await this.#level.batch(operations, WRITE_OPTIONS);
  }

  /** Takes the writes of one batch off the queue: at least one, more while they stay within the batch size. */
  #takeGroup(): Waiting[] {
    const group: Waiting[] = [];
    for (let bytes = 0; this.#head < this.#waiting.length; this.#head++) {
      const entry = this.#waiting[this.#head]!;
      for (const { key, value } of entry.writes) {
        bytes += key.length + (value?.byteLength ?? 0) + rowOverheadBytes;
      }
      if (group.length > 0 && bytes > storeBatchBytesMax) break;
      group.push(entry);
    }
    if (this.#head === this.#waiting.length) {
      this.#waiting.length = 0;
      this.#head = 0;
    }
    return group;
  }

  #requireOpen(): void {
    if (this.#state === "closed") throw closedError();
  }
}

function closedError(): RingstowError {
  return new RingstowError("Unavailable", "Cannot use the store: it is closed");
}

function storeError(action: string, error: unknown): RingstowError {
  const reason = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const kind =
    code === "LEVEL_CORRUPTION"
      ? "Corrupt"
      : reason.includes("No space left on device")
        ? "DiskFull"
        : "Unavailable";
  return new RingstowError(kind, `Cannot ${action} the store: ${reason}`);
}

/**
 * Opens the ordered store in `folder`, which is made when it does not exist.
 * Throws RingstowError: Unavailable when another process uses the folder or it cannot be written, Corrupt when the
 * files are damaged.
 */
export async function openLevelStore(folder: string): Promise<Store> {
  return new LevelStore(await openLevel(folder));
}
