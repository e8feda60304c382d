// ByteStreams and web streams. A server that can write an iterable to its socket without the detour takes the
// source of a made ReadableStream back out with sourceOf(); bytes that are all there need no stream at all.
import { type ByteStream } from "./object-service.ts";

/** A body that is in memory already. Whoever knows that takes `bytes`; to all others it is a stream of one chunk. */
export class HeldBody implements ByteStream {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    let waiting: Uint8Array | undefined = this.bytes.length > 0 ? this.bytes : undefined;
    const stop = (): Promise<IteratorResult<Uint8Array>> => {
      waiting = undefined;
      return Promise.resolve({ done: true, value: undefined });
    };
    return {
      next() {
        if (!waiting) return stop();
        const value = waiting;
        waiting = undefined;
        return Promise.resolve({ done: false, value });
      },
      return: stop,
    };
  }
}

const wholes = new WeakSet<Response>();

/** A response with all of its bytes; isWhole() tells a server not to look for a stream in it. */
export function wholeResponse(
  bytes: Uint8Array,
  init: { readonly status: number; readonly headers: Headers | Record<string, string> },
): Response {
  // The types want a buffer that is not shared between threads; no bytes of a body are.
  const response = new Response(bytes as Uint8Array<ArrayBuffer>, init);
  wholes.add(response);
  return response;
}

export function isWhole(response: Response): boolean {
  return wholes.has(response);
}

const sources = new WeakMap<ReadableStream<Uint8Array>, ByteStream>();

/**
 * A pull stream: asks the source only when its reader asks, passes a throw on as an error of the stream, and calls
 * the iterator's return() when it is cancelled.
 */
export function toReadable(source: ByteStream): ReadableStream<Uint8Array> {
  let iterator: AsyncIterator<Uint8Array> | undefined;
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        iterator ??= source[Symbol.asyncIterator]();
        const { done, value } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        iterator ??= source[Symbol.asyncIterator]();
        await iterator.return?.();
      },
    },
    { highWaterMark: 0 },
  );
  sources.set(stream, source);
  return stream;
}

/** What toReadable() made the stream from. Whoever takes it must not read the stream too. */
export function sourceOf(stream: ReadableStream<Uint8Array>): ByteStream | undefined {
  return sources.get(stream);
}

/** Bytes of a web stream; return() cancels it. */
export function fromReadable(stream: ReadableStream<Uint8Array> | null): ByteStream {
  return {
    [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
      const reader = stream?.getReader();
      return {
        async next() {
          const step = await reader?.read();
          return !step || step.done
            ? { done: true, value: undefined }
            : { done: false, value: step.value };
        },
        async return() {
          await reader?.cancel();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

/** All bytes, at most `bytesMax`; undefined when there are more (the source is then told to stop). */
export async function collect(
  source: ByteStream,
  bytesMax: number,
): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes > bytesMax) return undefined;
    chunks.push(chunk);
  }
  return chunks.length === 1 ? chunks[0]! : concat(chunks, bytes);
}

/** One array of all chunks, `bytes` long in all. */
export function concat(chunks: readonly Uint8Array[], bytes: number): Uint8Array {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
