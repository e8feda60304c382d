// Memory of the chunks that large bodies pass through, used again and again. V8 counts the bytes of array buffers and
// collects the whole heap whenever another 64 MiB of them were made: a body of 64 MiB that passes through one new buffer
// a chunk costs each process two such collections, more than all its copies, hashes and encryption together.
// Giving back is voluntary (what is not given back is left to the collector), and only for the chunk's one owner: who got
// it from takeChunk(), or from whoever had it, and has let nobody keep it, a write under way included.
import { chunksKeptMax, streamChunkBytes } from "./limits.ts";

/** Room for a stream chunk and the header of its frame. */
const bufferBytes = streamChunkBytes + 64;
/** Below this a buffer of its own costs less than a large one that is hardly filled. */
const reusedBytesMin = streamChunkBytes / 2;

const kept: ArrayBuffer[] = [];
/** What takeChunk() gave out and nobody has given back: everything else is left alone. */
const lent = new WeakSet<ArrayBuffer>();

/** A chunk of `bytes` bytes, with whatever was in its memory before. */
export function takeChunk(bytes: number): Uint8Array<ArrayBuffer> {
  if (bytes < reusedBytesMin || bytes > bufferBytes) return new Uint8Array(bytes);
  const buffer = kept.pop() ?? new ArrayBuffer(bufferBytes);
  lent.add(buffer);
  return new Uint8Array(buffer, 0, bytes);
}

/** The owner needs the chunk, and all other views of its memory, no more. Other chunks are left alone. */
export function giveChunk(chunk: Uint8Array): void {
  const { buffer } = chunk;
  if (!(buffer instanceof ArrayBuffer) || !lent.delete(buffer)) return;
  if (kept.length < chunksKeptMax) kept.push(buffer);
  else buffer.transfer(0);
}

/** Frees the memory of a chunk that fills a buffer of its own, at once. Only for its one owner, like giveChunk(). */
export function freeChunk(chunk: Uint8Array): void {
  const { buffer } = chunk;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === chunk.byteLength) buffer.transfer(0);
}
