// Layout of a block file: data, then a CRC-32 for each piece (u32 little endian), then a footer of fixed length:
//   magic (8) | format (u32) | piece bytes (u32) | block id (16) | data bytes (u64) | CRC-32 (u32)
// all little endian. The last CRC covers the table and the footer's fields, so a torn or swapped file is found
// before a byte of it is believed.
import { RingstowError } from "../../shared/errors.ts";
import { type BlockId, fromHex, toHex } from "../../shared/ids.ts";
import { type BlockSeal, type Digest } from "../ports.ts";

const MAGIC = "RINGSTOW";
const FORMAT = 1;
export const footerBytes = 44;
/** Enough for the table and footer of a full block: one read from the end of the file gets both. */
export const tailReadBytes = 4096;

/** A seal as read from a file; the file may have been written with another piece size. */
export interface StoredSeal extends BlockSeal {
  readonly pieceBytes: number;
}

/** Bytes of a file with `size` bytes of data. */
export function fileBytes(size: number, pieceBytes: number): number {
  return size + 4 * Math.ceil(size / pieceBytes) + footerBytes;
}

/** What follows the data in the file. */
export function encodeTail(id: BlockId, seal: StoredSeal, digest: Digest): Uint8Array {
  const tableBytes = 4 * seal.pieceCrcs.length;
  const tail = new Uint8Array(tableBytes + footerBytes);
  const view = new DataView(tail.buffer);
  for (const [i, crc] of seal.pieceCrcs.entries()) view.setUint32(4 * i, crc, true);
  new TextEncoder().encodeInto(MAGIC, tail.subarray(tableBytes));
  view.setUint32(tableBytes + 8, FORMAT, true);
  view.setUint32(tableBytes + 12, seal.pieceBytes, true);
  tail.set(fromHex(id), tableBytes + 16);
  view.setBigUint64(tableBytes + 32, BigInt(seal.size), true);
  view.setUint32(tail.length - 4, digest.crc32(tail.subarray(0, -4)), true);
  return tail;
}

/**
 * Data bytes and piece size that the footer names, checked against the file's length but not yet by its CRC. The
 * footer of a linked file names the block that its bytes were written for.
 */
export function decodeFooter(
  id: BlockId,
  footer: Uint8Array,
  fileLength: number,
  linked: boolean,
): { size: number; pieceBytes: number } {
  const view = new DataView(footer.buffer, footer.byteOffset, footer.byteLength);
  if (footer.length !== footerBytes || fileLength < footerBytes) throw damaged(id, "it is cut off");
  if (new TextDecoder().decode(footer.subarray(0, 8)) !== MAGIC) {
    throw damaged(id, "its footer is missing");
  }
  const format = view.getUint32(8, true);
  if (format !== FORMAT) throw damaged(id, `its format is ${format}, expected ${FORMAT}`);
  const pieceBytes = view.getUint32(12, true);
  const size = Number(view.getBigUint64(32, true));
  if (!linked && toHex(footer.subarray(16, 32)) !== id) throw damaged(id, "it holds another block");
  if (pieceBytes === 0 || fileLength !== fileBytes(size, pieceBytes)) {
    throw damaged(id, "its length does not fit its footer");
  }
  return { size, pieceBytes };
}

/** The seal in a whole tail (table and footer). Throws Corrupt when its CRC does not fit. */
export function decodeTail(
  id: BlockId,
  tail: Uint8Array,
  fileLength: number,
  digest: Digest,
  linked: boolean,
): StoredSeal {
  const footer = tail.subarray(-footerBytes);
  const { size, pieceBytes } = decodeFooter(id, footer, fileLength, linked);
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
  if (digest.crc32(tail.subarray(0, -4)) !== view.getUint32(tail.length - 4, true)) {
    throw damaged(id, "its table fails its check");
  }
  const pieceCrcs = new Uint32Array(Math.ceil(size / pieceBytes));
  for (let i = 0; i < pieceCrcs.length; i++) pieceCrcs[i] = view.getUint32(4 * i, true);
  return { size, pieceBytes, pieceCrcs };
}

/** The error of a block whose bytes cannot be believed. */
export function damaged(id: BlockId, reason: string): RingstowError {
  return new RingstowError("Corrupt", `Cannot read block ${id}: ${reason}`);
}
