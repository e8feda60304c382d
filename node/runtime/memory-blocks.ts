// The BlockFiles port in memory, over a MemoryDisk: sealed blocks survive a power loss, temporary ones do not.
import { crc32 } from "node:zlib";
import { RingstowError } from "../../shared/errors.ts";
import { type BlockId } from "../../shared/ids.ts";
import { pieceBytes, streamChunkBytes } from "../../shared/limits.ts";
import { type BlockFiles, type BlockWriter, type Clock } from "../ports.ts";
import { type MemoryDisk } from "./memory-store.ts";

export interface MemoryBlocksOptions {
  /** Milliseconds that a seal takes. */
  readonly syncMs: number;
}

export function openMemoryBlocks(
  disk: MemoryDisk,
  clock: Clock,
  options: MemoryBlocksOptions,
): BlockFiles {
  const generation = disk.generation;
  const alive = (): boolean => disk.generation === generation;
  const requireAlive = (): void => {
    if (!alive()) throw new Error("Cannot use the block files: they are closed");
  };
  const afterSync = (): Promise<void> =>
    new Promise((resolve) => {
      clock.after(options.syncMs, () => {
        // After a power loss nothing ever answers.
        if (alive()) resolve();
      });
    });

  return {
    async create(id) {
      requireAlive();
      if (disk.refusal) throw disk.refusal;
      if (disk.freeBytes <= 0) throw new RingstowError("DiskFull");
      return memoryWriter(disk, id, requireAlive, afterSync);
    },
    async *read(id, from, to) {
      requireAlive();
      const block = disk.blocks.get(id);
      if (!block) throw new RingstowError("NoSuchKey", `Block ${id} is not here`);
      for (let at = from; at < to;) {
        requireAlive();
        const piece = Math.floor(at / pieceBytes);
        const start = piece * pieceBytes;
        const bytes = block.bytes.subarray(start, start + pieceBytes);
        if (crc32(bytes) !== block.pieceCrcs[piece]) {
          throw new RingstowError("Corrupt", `Block ${id} is damaged in piece ${piece}`);
        }
        const end = Math.min(to, start + bytes.length, at + streamChunkBytes);
        if (end <= at)
          throw new RingstowError("InvalidRange", `Block ${id} ends before byte ${to}`);
        yield bytes.subarray(at - start, end - start);
        at = end;
      }
    },
    async stat(id) {
      requireAlive();
      const block = disk.blocks.get(id);
      return block && { id, size: block.bytes.length };
    },
    async delete(id) {
      requireAlive();
      const block = disk.blocks.get(id);
      if (!block) return false;
      await afterSync();
      disk.freeBytes += block.bytes.length;
      return disk.blocks.delete(id);
    },
    async usage() {
      requireAlive();
      let usedBytes = 0;
      for (const { bytes } of disk.blocks.values()) usedBytes += bytes.length;
      return {
        freeBytes: Math.max(0, disk.freeBytes),
        totalBytes: disk.totalBytes,
        usedBytes,
        blocks: disk.blocks.size,
      };
    },
    async close() {},
  };
}

function memoryWriter(
  disk: MemoryDisk,
  id: BlockId,
  requireAlive: () => void,
  afterSync: () => Promise<void>,
): BlockWriter {
  const chunks: Uint8Array[] = [];
  let size = 0;
  let aborted = false;
  const giveBack = (): void => {
    disk.freeBytes += size;
    size = 0;
    chunks.length = 0;
  };
  return {
    async write(chunk) {
      requireAlive();
      if (aborted) throw new Error(`Cannot write block ${id}: it was aborted`);
      if (chunk.length > disk.freeBytes) throw new RingstowError("DiskFull");
      disk.freeBytes -= chunk.length;
      size += chunk.length;
      chunks.push(chunk.slice());
    },
    async seal() {
      requireAlive();
      if (aborted) throw new Error(`Cannot seal block ${id}: it was aborted`);
      await afterSync();
      if (disk.blocks.has(id)) throw new Error(`Cannot seal block ${id}: it exists already`);
      const bytes = new Uint8Array(size);
      let at = 0;
      for (const chunk of chunks) {
        bytes.set(chunk, at);
        at += chunk.length;
      }
      const pieceCrcs = new Uint32Array(Math.ceil(size / pieceBytes));
      for (let i = 0; i < pieceCrcs.length; i++) {
        pieceCrcs[i] = crc32(bytes.subarray(i * pieceBytes, (i + 1) * pieceBytes));
      }
      disk.blocks.set(id, { bytes, pieceCrcs });
      const seal = { size, pieceCrcs };
      size = 0;
      return seal;
    },
    async abort() {
      if (aborted) return;
      aborted = true;
      giveBack();
    },
  };
}
