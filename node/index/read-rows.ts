// Pages of the ordered store bounded by rows and by bytes. A chain can be a megabyte, and the store reads whole rows:
// a page is read in steps whose size follows the rows seen so far, so that no step holds much more than was asked for.
import { type Row, type Store } from "../ports.ts";

const FIRST_STEP_ROWS = 32;
const STEP_BYTES = 4 * 1024 * 1024;

/** The first rows of a range: at least one if there is any, at most `rows`, and no more once `bytes` are reached. */
export async function readRows(
  store: Store,
  { from, to }: { from: string; to: string },
  most: { rows: number; bytes: number },
): Promise<{ rows: Row[]; more: boolean }> {
  const found: Row[] = [];
  let bytes = 0;
  let next = from;
  let step = FIRST_STEP_ROWS;
  for (;;) {
    const limit = Math.min(step, most.rows + 1 - found.length);
    const rows = await store.range({ from: next, to, limit });
    for (const row of rows) {
      if (found.length >= most.rows || (found.length > 0 && bytes >= most.bytes)) {
        return { rows: found, more: true };
      }
      found.push(row);
      bytes += row.value.byteLength;
    }
    if (rows.length < limit) return { rows: found, more: false };
    // No string lies between a key and the key followed by U+0001: keys have no NUL.
    next = `${rows.at(-1)!.key}\u0001`;
    step = Math.max(1, Math.floor(STEP_BYTES / Math.max(1, bytes / found.length)));
  }
}
