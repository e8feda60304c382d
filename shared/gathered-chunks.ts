// Pieces of a large body, copied into chunks of `streamChunkBytes`. A socket gives 64 KiB at a time, each in memory of
// its own: the chunks' memory is used again, and everything that handles them takes a quarter of the steps.
import { takeChunk } from "./chunk-memory.ts";
import { streamChunkBytes } from "./limits.ts";

export class GatheredChunks {
  readonly #full: Uint8Array[] = [];
  #filling: Uint8Array | undefined;
  #filled = 0;

  /** Bytes that were added and not taken yet. */
  get bytes(): number {
    return this.#full.length * streamChunkBytes + this.#filled;
  }

  /** The piece is not kept. */
  add(piece: Uint8Array): void {
    for (let at = 0; at < piece.length;) {
      this.#filling ??= takeChunk(streamChunkBytes);
      const part = piece.subarray(at, at + streamChunkBytes - this.#filled);
      this.#filling.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled < streamChunkBytes) continue;
      this.#full.push(this.#filling);
      this.#filling = undefined;
      this.#filled = 0;
    }
  }

  /** The next chunk, if it is full; from then on the caller's. */
  takeFull(): Uint8Array | undefined {
    return this.#full.shift();
  }

  /** The next chunk, however little is in it. */
  take(): Uint8Array | undefined {
    const full = this.#full.shift();
    if (full || this.#filled === 0) return full;
    const chunk = this.#filling!.subarray(0, this.#filled);
    this.#filling = undefined;
    this.#filled = 0;
    return chunk;
  }
}
