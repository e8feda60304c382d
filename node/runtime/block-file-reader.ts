// Reads one block file: its seal, and ranges of its data with every touched piece verified before a byte leaves.
import { type FileHandle, open } from "node:fs/promises";
import { giveChunk, takeChunk } from "../../shared/chunk-memory.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type BlockId } from "../../shared/ids.ts";
import { streamChunkBytes } from "../../shared/limits.ts";
import { type Digest } from "../ports.ts";
import {
  damaged,
  decodeFooter,
  decodeTail,
  footerBytes,
  type StoredSeal,
  tailReadBytes,
} from "./block-file-format.ts";
import { errnoOf } from "./durable-folder.ts";

/** Opens a block file; undefined when there is none. */
export async function openBlockFile(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Reads the table and footer; a file that is not `linked` must have been written for this id. Throws Corrupt. */
export async function readSeal(
  id: BlockId,
  file: FileHandle,
  digest: Digest,
  linked: boolean,
): Promise<StoredSeal> {
  const { size: length } = await file.stat();
  let tail = await readExactly(id, file, Math.max(0, length - tailReadBytes), length);
  const { size } = decodeFooter(id, tail.subarray(-footerBytes), length, linked);
  // A block of many pieces (written with another piece size) has a longer table than the usual read gets.
  if (length - size > tail.length) tail = await readExactly(id, file, size, length);
  return decodeTail(id, tail.subarray(tail.length - (length - size)), length, digest, linked);
}

/**
 * Bytes from..to (exclusive) in chunks of at most `streamChunkBytes`, borders at multiples of it, each the consumer's.
 * While it handles a chunk the next one is read, never more. Does not close the file.
 */
export async function* readPieces(
  id: BlockId,
  file: FileHandle,
  seal: StoredSeal,
  range: { from: number; to: number },
  digest: Digest,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { from, to } = range;
  const endOf = (at: number): number =>
    Math.min(to, at - (at % streamChunkBytes) + streamChunkBytes);
  const fetch = (at: number): Promise<Uint8Array> => {
    const chunk = readVerified(id, file, seal, { from: at, to: endOf(at) }, digest);
    // Until the consumer comes for it nobody listens; its failure is thrown then.
    chunk.catch(() => {});
    return chunk;
  };
  let ahead = from < to ? fetch(from) : undefined;
  try {
    for (let at = from; ahead;) {
      const chunk = await ahead;
      at = endOf(at);
      ahead = at < to ? fetch(at) : undefined;
      yield chunk;
    }
  } finally {
    // The consumer left early: the file may be closed only when the read ahead has ended, well or not.
    await ahead?.then(giveChunk, () => {});
  }
}

async function readVerified(
  id: BlockId,
  file: FileHandle,
  seal: StoredSeal,
  range: { from: number; to: number },
  digest: Digest,
): Promise<Uint8Array> {
  const { pieceBytes } = seal;
  const first = Math.floor(range.from / pieceBytes);
  const start = first * pieceBytes;
  const end = Math.min(seal.size, Math.ceil(range.to / pieceBytes) * pieceBytes);
  const bytes = await readExactly(id, file, start, end);
  for (let at = 0, piece = first; at < bytes.length; at += pieceBytes, piece++) {
    if (digest.crc32(bytes.subarray(at, at + pieceBytes)) !== seal.pieceCrcs[piece]) {
      throw damaged(id, `piece ${piece} fails its check`);
    }
  }
  return bytes.subarray(range.from - start, range.to - start);
}

async function readExactly(
  id: BlockId,
  file: FileHandle,
  from: number,
  to: number,
): Promise<Uint8Array> {
  const bytes = takeChunk(to - from);
  for (let at = 0; at < bytes.length;) {
    const { bytesRead } = await read(id, file, bytes, at, from);
    if (bytesRead === 0) throw damaged(id, "it is cut off");
    at += bytesRead;
  }
  return bytes;
}

async function read(
  id: BlockId,
  file: FileHandle,
  into: Uint8Array,
  at: number,
  from: number,
): Promise<{ bytesRead: number }> {
  try {
    return await file.read(into, at, into.length - at, from + at);
  } catch (error) {
    // A bad sector is lost data as a wrong checksum is: another replica must serve and repair it.
    if (errnoOf(error) === "EIO") throw damaged(id, "the disk cannot read it");
    throw error instanceof RingstowError
      ? error
      : new RingstowError("Unavailable", `Cannot read block ${id}: ${String(error)}`);
  }
}
