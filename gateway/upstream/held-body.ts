// The body of an upload on its way to a node: a small one is held, so that another node can take it when the first
// fails; of a large one it is known whether a byte was taken, for then only the client can send it again.
import { concat } from "../../shared/body-stream.ts";
import { heldBodyBytesMax } from "../../shared/limits.ts";
import { type ByteStream } from "../../shared/object-service.ts";
import { type StreamedBody } from "./http-caller.ts";

export interface UploadSource {
  /** What to send now. */
  body(): Uint8Array | StreamedBody;
  /** Whether body() may be sent (again): everything is held, or nothing was taken. */
  fresh(): boolean;
  /** Tells the source that nobody wants the rest. */
  stop(): Promise<void>;
}

/** @param length bytes on the wire, when known */
export async function holdBody(
  body: ByteStream,
  length: number | undefined,
): Promise<UploadSource> {
  if (length === undefined || length > heldBodyBytesMax) return new StreamedSource(body, length);
  const iterator = body[Symbol.asyncIterator]();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for (let step = await iterator.next(); !step.done; step = await iterator.next()) {
    chunks.push(step.value);
    bytes += step.value.length;
    // More than declared: the node has to see and refuse it, so hand on what is here and the rest.
    if (bytes > length) return new StreamedSource(chained(chunks, iterator), undefined);
  }
  const whole = chunks.length === 1 ? chunks[0]! : concat(chunks, bytes);
  return { body: () => whole, fresh: () => true, stop: () => Promise.resolve() };
}

class StreamedSource implements UploadSource {
  readonly #stream: ByteStream;
  readonly #length: number | undefined;
  #iterator: AsyncIterator<Uint8Array> | undefined;

  constructor(stream: ByteStream, length: number | undefined) {
    this.#stream = stream;
    this.#length = length;
  }

  body(): StreamedBody {
    const stream: ByteStream = {
      [Symbol.asyncIterator]: () => ({
        next: () => {
          // Opened only now: whoever gave the stream may count an opened one as taken.
          this.#iterator ??= this.#stream[Symbol.asyncIterator]();
          return this.#iterator.next();
        },
        // A caller that fails before its first read stops what it was given; the source stays whole.
        return: async () => {
          await this.#iterator?.return?.();
          return { done: true, value: undefined };
        },
      }),
    };
    return { stream, length: this.#length };
  }

  fresh(): boolean {
    return this.#iterator === undefined;
  }

  async stop(): Promise<void> {
    await this.#iterator?.return?.();
  }
}

function chained(chunks: readonly Uint8Array[], rest: AsyncIterator<Uint8Array>): ByteStream {
  let at = 0;
  return {
    [Symbol.asyncIterator]: () => ({
      next: () =>
        at < chunks.length
          ? Promise.resolve({ done: false as const, value: chunks[at++]! })
          : rest.next(),
      return: async () => {
        await rest.return?.();
        return { done: true, value: undefined };
      },
    }),
  };
}
