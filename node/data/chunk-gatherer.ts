// Turns chunks of any size into chunks that suit the pipeline: large ones pass as they are, split at the stream's
// chunk size; small ones are gathered into one buffer first, which is used again: what push() and flush() yield is
// valid until the next is asked for.
import { giveChunk, takeChunk } from "../../shared/chunk-memory.ts";
import { pieceBytes, streamChunkBytes } from "../../shared/limits.ts";

/** A chunk of at least this passes without a copy. */
const passBytesMin = pieceBytes / 2;

export class ChunkGatherer {
  #buffer: Uint8Array | undefined;
  #filled = 0;

  /** The chunks that are ready now, in order: views of `chunk` or of the buffer. */
  *push(chunk: Uint8Array): Generator<Uint8Array, void, void> {
    let rest = chunk;
    while (rest.length > 0 && (this.#filled > 0 || rest.length < passBytesMin)) {
      // A large chunk behind a small one: the small one goes alone, the large one passes without a copy.
      if (rest.length >= passBytesMin) {
        yield* this.flush();
        break;
      }
      this.#buffer ??= takeChunk(pieceBytes);
      const part = rest.subarray(0, pieceBytes - this.#filled);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.length;
      rest = rest.subarray(part.length);
      if (this.#filled === pieceBytes) yield* this.flush();
    }
    for (; rest.length > 0; rest = rest.subarray(streamChunkBytes))
      yield rest.subarray(0, streamChunkBytes);
  }

  /** What is left, if anything. */
  *flush(): Generator<Uint8Array, void, void> {
    const buffer = this.#buffer;
    const filled = this.#filled;
    this.#buffer = undefined;
    this.#filled = 0;
    if (!buffer) return;
    yield buffer.subarray(0, filled);
    giveChunk(buffer);
  }
}
