// Registers as they lie in the ordered store: single ones, and pages bounded by rows and by bytes.
import { electionKeysMax, pageBytesMax, scanRowsMax, syncRowsMax } from "../../shared/limits.ts";
import {
  type StoredRegister,
  type VersionPage,
  type Want,
} from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { NO_VERSION, type Version } from "../../shared/versions.ts";
import { type Row, type Store } from "../ports.ts";
import { type ScanRange } from "./member-link.ts";
import { readRows } from "./read-rows.ts";
import {
  bodyRow,
  decodeRow,
  keyOfRow,
  registerRow,
  registerRowsEnd,
  versionOfRow,
} from "./rows.ts";

/** A durable register with as much of it as is wanted; version "" when there is none. */
export function readRegister(store: Store, slice: Slice, key: string, want: Want): StoredRegister {
  const row = registerRow(slice, key);
  let found = store.get(row);
  for (;;) {
    if (!found) return { key, version: NO_VERSION };
    if (want === "version") return { key, version: versionOfRow(found) };
    const register = { key, ...decodeRow(found) };
    if (want === "value") return register;
    const body = store.get(bodyRow(slice, key));
    // The store may apply a batch between two get(): a body belongs to the version that stands before and after it.
    found = store.get(row);
    if (versionOfRow(found) === register.version) return body ? { ...register, body } : register;
  }
}

/** The first of several registers, whole: no more once `bytesMax` are reached, but at least one. */
export function readRegisters(
  store: Store,
  slice: Slice,
  keys: readonly string[],
  bytesMax: number,
): StoredRegister[] {
  const registers: StoredRegister[] = [];
  let bytes = 0;
  for (const key of keys) {
    if (registers.length > 0 && bytes >= bytesMax) break;
    const register = readRegister(store, slice, key, "body");
    bytes += (register.value?.length ?? 0) + (register.body?.byteLength ?? 0);
    registers.push(register);
  }
  return registers;
}

/** One page of a slice's register rows behind a key ("" for the start). */
export function rowsAfter(
  store: Store,
  slice: Slice,
  after: string,
): Promise<{ rows: Row[]; more: boolean }> {
  const from = after === "" ? registerRow(slice, "") : `${registerRow(slice, after)}\u0001`;
  const most = { rows: syncRowsMax, bytes: pageBytesMax };
  return readRows(store, { from, to: registerRowsEnd(slice) }, most);
}

/** (key, version) of a slice's registers behind a key, one page. */
export async function listVersions(
  store: Store,
  slice: Slice,
  after: string,
): Promise<VersionPage> {
  const { rows, more } = await rowsAfter(store, slice, after);
  return {
    rows: rows.map((row) => ({ key: keyOfRow(row.key), version: versionOfRow(row.value) })),
    more,
  };
}

/** A page of a range of registers, decoded as far as wanted. */
export async function scanRows(
  store: Store,
  { slice, from, to, limit, want }: ScanRange,
  bytesMax: number,
): Promise<{ rows: { key: string; version: Version; value?: string }[]; more: boolean }> {
  const { rows, more } = await readRows(
    store,
    { from: registerRow(slice, from), to: registerRow(slice, to) },
    { rows: Math.min(limit, scanRowsMax), bytes: bytesMax },
  );
  const decoded = rows.map(({ key: row, value }) => {
    const key = keyOfRow(row);
    return want === "version"
      ? { key, version: versionOfRow(value) }
      : { key, ...decodeRow(value) };
  });
  return { rows: decoded, more };
}

/** Names of all registers of a slice; undefined when there are more than a promise carries. */
export async function allNames(store: Store, slice: Slice): Promise<string[] | undefined> {
  const range = { from: registerRow(slice, ""), to: registerRowsEnd(slice) };
  const most = { rows: electionKeysMax, bytes: pageBytesMax };
  const { rows, more } = await readRows(store, range, most);
  return more ? undefined : rows.map((row) => keyOfRow(row.key));
}
