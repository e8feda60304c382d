// How replicas keep registers in the ordered store, and how a register's state is encoded as text.
//   m/<slice>          promised ballot, view and mode of the slice (slice-state.ts)
//   r/<slice>/<key>    version (76 digits) followed by the encoded state
//   y/<slice>/<key>    inline body of that state; written and replaced in the same batch
// The first character of an encoded state is "." for a tombstone, so that scans skip it undecoded.
import { type Slice } from "../../shared/slices.ts";
import { NO_VERSION, type Version } from "../../shared/versions.ts";
import { type RegisterKey } from "./types.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const VERSION_DIGITS = 76;
/** Keys of objects and parts begin with this letter or a later one; those of buckets, gates and views with an earlier one. */
export const CHAIN_KINDS = "o";

const sliceText = (slice: Slice): string => slice.toString(16).padStart(4, "0");

export const metaRow = (slice: Slice): string => `m/${sliceText(slice)}`;
export const isMetaRow = (row: string): boolean => row.startsWith("m/");
export const isRegisterRow = (row: string): boolean => row.startsWith("r/");
/** Whether it is a register row of an object or a part, which sort behind all other kinds. */
export const isChainRow = (row: string): boolean => isRegisterRow(row) && row[7]! >= CHAIN_KINDS;
export const registerRow = (slice: Slice, key: string): string => `r/${sliceText(slice)}/${key}`;
export const bodyRow = (slice: Slice, key: string): string => `y/${sliceText(slice)}/${key}`;
/** End (exclusive) of all register rows of a slice: "0" follows "/". */
export const registerRowsEnd = (slice: Slice): string => `r/${sliceText(slice)}0`;
/** End (exclusive) of the register rows of all slices. */
export const REGISTER_ROWS_END = "r0";
/** The slice of a register row's key. */
export const sliceOfRow = (row: string): Slice => Number.parseInt(row.slice(2, 6), 16) as Slice;
/** The register key inside a register row's key. */
export const keyOfRow = (row: string): RegisterKey => row.slice(7) as RegisterKey;

export function encodeRow(version: Version, value: string): Uint8Array {
  return encoder.encode(version + value);
}

export function versionOfRow(row: Uint8Array | undefined): Version {
  return row ? (decoder.decode(row.subarray(0, VERSION_DIGITS)) as Version) : NO_VERSION;
}

export function decodeRow(row: Uint8Array): { version: Version; value: string } {
  const text = decoder.decode(row);
  return { version: text.slice(0, VERSION_DIGITS) as Version, value: text.slice(VERSION_DIGITS) };
}

export function encodeJson(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value));
}

export function decodeJson<T>(bytes: Uint8Array): T {
  return JSON.parse(decoder.decode(bytes)) as T;
}
