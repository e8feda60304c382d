// Turns chunks of any size into chunks that suit the pipeline: large ones pass as they are, split at the stream's
// chunk size; small ones are gathered into one buffer first.
import { pieceBytes, streamChunkBytes } from "../../shared/limits.ts";

/** A chunk of at least this passes without a copy. */
const passBytesMin = pieceBytes / 2;

export class ChunkGatherer {
  #buffer: Uint8Array | undefined;
  #filled = 0;

  /** The chunks that are ready now, in order. Views of `chunk` or of buffers that are never written again. */
  push(chunk: Uint8Array): Uint8Array[] {
    const ready: Uint8Array[] = [];
    let rest = chunk;
    while (rest.length > 0 && (this.#filled > 0 || rest.length < passBytesMin)) {
      // A large chunk behind a small one: the small one goes alone, the large one passes without a copy.
      if (rest.length >= passBytesMin) {
        ready.push(...this.flush());
        break;
      }
      this.#buffer ??= new Uint8Array(pieceBytes);
      const part = rest.subarray(0, pieceBytes - this.#filled);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.length;
      rest = rest.subarray(part.length);
      if (this.#filled === pieceBytes) ready.push(...this.flush());
    }
    for (; rest.length > 0; rest = rest.subarray(streamChunkBytes))
      ready.push(rest.subarray(0, streamChunkBytes));
    return ready;
  }

  /** What is left, if anything. */
  flush(): Uint8Array[] {
    const buffer = this.#buffer;
    const filled = this.#filled;
    this.#buffer = undefined;
    this.#filled = 0;
    return buffer && filled > 0 ? [buffer.subarray(0, filled)] : [];
  }
}
