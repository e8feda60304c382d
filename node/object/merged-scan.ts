// Registers of several slices as one list in key order. Each slice has a cursor with its own page; cursors that ran
// empty are refilled together, one message a node. A row is handed out only when every cursor holds its next row or
// has ended, so nothing is skipped however slices are paged.
import { assert } from "../../shared/errors.ts";
import { type Slice } from "../../shared/slices.ts";
import { compareUtf8 } from "../../shared/utf8.ts";
import { type Index, type RegisterKey, type ScanRow } from "../index/types.ts";
import { type KeyRange } from "./addresses.ts";

interface Cursor {
  readonly slice: Slice;
  rows: readonly ScanRow[];
  at: number;
  /** Where the next page starts; undefined: the slice has no more. */
  next: RegisterKey | undefined;
}

export class MergedScan {
  readonly #index: Index;
  readonly #to: RegisterKey;
  readonly #pageRows: number;
  readonly #cursors: Cursor[];

  /** `pageRows`: rows asked of a slice at once. */
  constructor(index: Index, slices: readonly Slice[], range: KeyRange, pageRows: number) {
    this.#index = index;
    this.#to = range.to;
    this.#pageRows = pageRows;
    const next = compareUtf8(range.from, range.to) < 0 ? range.from : undefined;
    this.#cursors = slices.map((slice) => ({ slice, rows: [], at: 0, next }));
  }

  /** The least row not yet passed; undefined at the end. */
  async peek(): Promise<ScanRow | undefined> {
    await this.#refill();
    return this.#least()?.row;
  }

  /** Passes the row that peek() gave. */
  advance(): void {
    const least = this.#least();
    assert(least, "advance follows a peek that found a row");
    least.cursor.at += 1;
  }

  /** Passes every row below `key`, without reading them where they are not read yet. */
  seek(key: RegisterKey): void {
    for (const cursor of this.#cursors) {
      while (cursor.at < cursor.rows.length && compareUtf8(cursor.rows[cursor.at]!.key, key) < 0) {
        cursor.at += 1;
      }
      if (cursor.next !== undefined && compareUtf8(cursor.next, key) < 0) {
        cursor.next = compareUtf8(key, this.#to) < 0 ? key : undefined;
      }
    }
  }

  #least(): { cursor: Cursor; row: ScanRow } | undefined {
    let least: { cursor: Cursor; row: ScanRow } | undefined;
    for (const cursor of this.#cursors) {
      const row = cursor.rows[cursor.at];
      if (row && (!least || compareUtf8(row.key, least.row.key) < 0)) least = { cursor, row };
    }
    return least;
  }

  async #refill(): Promise<void> {
    for (;;) {
      const empty = this.#cursors.filter(
        (cursor) => cursor.at >= cursor.rows.length && cursor.next !== undefined,
      );
      if (empty.length === 0) return;
      const pages = await this.#index.scan(
        empty.map(({ slice, next }) => ({
          slice,
          from: next!,
          to: this.#to,
          limit: this.#pageRows,
        })),
      );
      for (const [i, cursor] of empty.entries()) {
        const { rows, next } = pages[i]!;
        assert(
          next === undefined || compareUtf8(next, cursor.next!) > 0,
          "each page of a scan starts behind the one before",
        );
        cursor.rows = rows;
        cursor.at = 0;
        cursor.next = next;
      }
    }
  }
}
