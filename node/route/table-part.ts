// One of 256 parts of a member table: the rows whose ids begin with one byte. Parts never change, a table replaces
// them: so a change costs one part and not the table, tables that agree can be told by hashes, and thousands of
// simulated nodes share what they agree on.
import { type RingId } from "../../shared/ids.ts";
import { isLive, type Member } from "./types.ts";

/** A member as it is merged and stored. */
export interface MemberRow extends Member {
  /** Grows when the node itself changes what it says within an incarnation. */
  readonly stamp: number;
}

export const tableParts = 256;

export interface TablePart {
  /** By rising id. */
  readonly rows: readonly MemberRow[];
  /** How many of them are alive or suspect. */
  readonly live: number;
  /** Equal for equal rows, whatever their order of arrival; 0 for none. */
  readonly digest: number;
}

export const EMPTY_PART: TablePart = { rows: [], live: 0, digest: 0 };

/** Number of the part that an id belongs to: its first byte. */
export function partOf(id: RingId): number {
  return 16 * hexDigit(id.charCodeAt(0)) + hexDigit(id.charCodeAt(1));
}

/** All parts of a table of these rows, in any order, no id twice. */
export function partsOf(rows: readonly MemberRow[]): TablePart[] {
  const byPart: MemberRow[][] = Array.from({ length: tableParts }, () => []);
  for (const row of rows) byPart[partOf(row.id)]!.push(row);
  return byPart.map((some) => {
    if (some.length === 0) return EMPTY_PART;
    return {
      rows: some.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
      live: some.filter(isLive).length,
      digest: some.reduce((digest, row) => (digest ^ hashRow(row)) >>> 0, 0),
    };
  });
}

/** Where the row of `id` stands in a part, or would stand. */
export function placeIn({ rows }: TablePart, id: RingId): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle]!.id < id) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function findIn(part: TablePart, id: RingId): MemberRow | undefined {
  const row = part.rows[placeIn(part, id)];
  return row?.id === id ? row : undefined;
}

/** The part with a row instead of the one of its id, or besides the others. */
export function withRow(part: TablePart, row: MemberRow): TablePart {
  const known = findIn(part, row.id);
  const at = placeIn(part, row.id);
  return {
    rows: known ? part.rows.with(at, row) : part.rows.toSpliced(at, 0, row),
    live: part.live + Number(isLive(row)) - Number(isLive(known)),
    digest: (part.digest ^ hashRow(row) ^ (known ? hashRow(known) : 0)) >>> 0,
  };
}

export function withoutRow(part: TablePart, row: MemberRow): TablePart {
  return {
    rows: part.rows.toSpliced(placeIn(part, row.id), 1),
    live: part.live - Number(isLive(row)),
    digest: (part.digest ^ hashRow(row)) >>> 0,
  };
}

/** FNV-1a over what merging looks at; equal rows hash equally on every node. */
export function hashRow(row: MemberRow): number {
  return hashText(`${row.id} ${row.incarnation} ${row.state} ${row.stamp}`);
}

/** FNV-1a, 32 bits. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}

function hexDigit(code: number): number {
  return code < 58 ? code - 48 : code - 87;
}
