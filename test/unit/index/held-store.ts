// A store whose disk does what the test says: writes stay invisible until sync(), fail on refuse(), are lost by
// crash(). For the rules of order between the disk and the answers.
import { type Row, type Store, type StoreRange, type StoreWrite } from "../../../node/ports.ts";
import { compareUtf8 } from "../../../shared/utf8.ts";

interface Waiting {
  readonly writes: readonly StoreWrite[];
  readonly done: () => void;
  readonly fail: (error: Error) => void;
}

export class HeldStore implements Store {
  rows = new Map<string, Uint8Array>();
  waiting: Waiting[] = [];
  /** Called before each get(): lets a batch land between two of them. */
  onGet: () => void = () => {};
  /** Rows that the largest range() gave. */
  largestRange = 0;

  get(key: string): Uint8Array | undefined {
    this.onGet();
    return this.rows.get(key);
  }

  range({ from, to, limit }: StoreRange): Promise<Row[]> {
    const rows = [...this.rows.keys()]
      .filter((key) => compareUtf8(key, from) >= 0 && compareUtf8(key, to) < 0)
      .toSorted(compareUtf8)
      .slice(0, limit)
      .map((key) => ({ key, value: this.rows.get(key)! }));
    this.largestRange = Math.max(this.largestRange, rows.length);
    return Promise.resolve(rows);
  }

  write(writes: readonly StoreWrite[]): Promise<void> {
    return new Promise((done, fail) => {
      this.waiting.push({ writes, done, fail });
    });
  }

  /** Makes the oldest `count` waiting writes durable, all by default, and lets their waiters run. */
  async sync(count = this.waiting.length): Promise<void> {
    for (const { writes, done } of this.waiting.splice(0, count)) {
      for (const { key, value } of writes) {
        if (value) this.rows.set(key, value);
        else this.rows.delete(key);
      }
      done();
    }
    await turn();
  }

  /** Fails all waiting writes. */
  async refuse(): Promise<void> {
    for (const { fail } of this.waiting.splice(0)) fail(new Error("The disk refuses"));
    await turn();
  }

  /** Runs work, syncing until it ends. */
  async durably<T>(work: Promise<T>): Promise<T> {
    let ended = false;
    const end = (): void => void (ended = true);
    work.then(end, end);
    for (let i = 0; i < 50 && !ended; i++) await this.sync();
    return work;
  }

  /** What a process finds that opens the disk after a power loss. */
  crash(): HeldStore {
    const store = new HeldStore();
    store.rows = new Map(this.rows);
    this.waiting = [];
    return store;
  }

  settled(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** One turn of the event loop: every promise reaction that is due has run. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
