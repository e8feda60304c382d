// What a replica holds of its slices, (key, version) by (key, version): those who campaign, join or compare ask for it
// again and again, and most slices are small. The first page of each stays in memory and follows every durable write.
// Invariant: a page that is kept says what is durable, no less and no more.
import { LRUCache } from "lru-cache";
import { syncRowsMax, versionListRowsMax } from "../../shared/limits.ts";
import { type VersionPage } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { compareUtf8 } from "../../shared/utf8.ts";
import { type Store, type StoreWrite } from "../ports.ts";
import { isRegisterRow, keyOfRow, sliceOfRow, versionOfRow } from "./rows.ts";
import { type SliceState } from "./slice-state.ts";
import { listVersions } from "./stored-registers.ts";

type VersionRow = VersionPage["rows"][number];

interface FirstPage {
  readonly rows: VersionRow[];
  readonly more: boolean;
}

export class VersionPages {
  readonly #store: Store;
  /** Whole slices, or the first page of one that has more. */
  readonly #pages = new LRUCache<Slice, VersionPage>({
    maxSize: versionListRowsMax,
    sizeCalculation: ({ rows }) => rows.length + 1,
  });
  /** Pages that are being read: who asks meanwhile shares the reading. */
  readonly #reading = new Map<
    Slice,
    { readonly changes: number; readonly page: Promise<VersionPage> }
  >();

  constructor(store: Store) {
    this.#store = store;
  }

  /** The first page of a slice, if it is in memory. Who only looks does not keep it there. */
  known(slice: Slice): VersionPage | undefined {
    return this.#pages.peek(slice);
  }

  /** The first page of a slice's durable registers. */
  first(slice: Slice, state: Pick<SliceState, "changes" | "writing">): Promise<VersionPage> {
    const known = this.#pages.get(slice);
    if (known) return Promise.resolve(known);
    // A write that is under way may or may not be seen by this reading, and is added to no page that is not there yet.
    if (state.writing > 0) return listVersions(this.#store, slice, "");
    const { changes } = state;
    const running = this.#reading.get(slice);
    if (running?.changes === changes) return running.page;
    const page = listVersions(this.#store, slice, "");
    this.#reading.set(slice, { changes, page });
    const end = (read?: VersionPage): void => {
      if (this.#reading.get(slice)?.page === page) this.#reading.delete(slice);
      if (read && state.changes === changes) this.#pages.set(slice, read);
    };
    page.then(end, () => end());
    return page;
  }

  /** A batch is durable. Batches come in the order in which they were written. */
  written(writes: readonly StoreWrite[]): void {
    const changed = new Map<Slice, FirstPage | undefined>();
    for (const { key: row, value } of writes) {
      if (!isRegisterRow(row)) continue;
      const slice = sliceOfRow(row);
      if (!changed.has(slice)) {
        const page = this.#pages.peek(slice);
        // Pages are handed out, so none is changed.
        changed.set(slice, page && { rows: [...page.rows], more: page.more });
      }
      const page = changed.get(slice);
      if (page && !follow(page, keyOfRow(row), value)) changed.set(slice, undefined);
    }
    for (const [slice, page] of changed) {
      if (page) this.#pages.set(slice, page);
      else this.#pages.delete(slice);
    }
  }

  /** The disk refused a batch: what it holds now has to be read. */
  refused(writes: readonly StoreWrite[]): void {
    for (const { key } of writes) if (isRegisterRow(key)) this.#pages.delete(sliceOfRow(key));
  }
}

/** Makes a first page say what one row says now. False when that can't be told: the page has to be read again. */
function follow({ rows, more }: FirstPage, key: string, value: Uint8Array | undefined): boolean {
  const at = positionOf(rows, key);
  if (more && at === rows.length) return true; // it is of a later page
  const present = rows[at]?.key === key ? 1 : 0;
  const added = value ? [{ key, version: versionOfRow(value) }] : [];
  rows.splice(at, present, ...added);
  // What comes in or goes out at the end of a page that is not the last is not known here.
  return more ? present === added.length : rows.length <= syncRowsMax;
}

/** Where a key is in rows, or would be. */
function positionOf(rows: readonly VersionRow[], key: string): number {
  let [at, end] = [0, rows.length];
  while (at < end) {
    const middle = (at + end) >>> 1;
    if (compareUtf8(rows[middle]!.key, key) < 0) at = middle + 1;
    else end = middle;
  }
  return at;
}
