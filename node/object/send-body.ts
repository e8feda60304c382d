// Sends segments in order. The next block is opened while the end of the current one is being sent, so that its head
// is there when it is needed; never more than one ahead. The stream throws when bytes are missing: it never ends short.
import { RingstowError } from "../../shared/errors.ts";
import { prefetchAheadBytes } from "../../shared/limits.ts";
import { type Data } from "../data/types.ts";
import { type Log } from "../ports.ts";
import { type Segment } from "./segments.ts";

/** A segment whose first chunk is on its way. */
interface Opened {
  readonly size: number;
  next(): Promise<IteratorResult<Uint8Array>>;
  close(): Promise<void>;
}

/** All bytes of `segments`; throws what the segments or their reads throw, or Corrupt when they are not `length`. */
export async function* sendBody(
  deps: { readonly data: Data; readonly log: Log },
  segments: AsyncGenerator<Segment, void, void>,
  length: number,
): AsyncGenerator<Uint8Array, void, void> {
  let sent = 0;
  let upcoming: Promise<Opened | undefined> | undefined;
  let current: Opened | undefined;
  const prefetch = (): Promise<Opened | undefined> => {
    const opening = openNext(deps.data, segments);
    opening.catch(() => undefined); // told when the current segment is sent
    return opening;
  };
  try {
    current = await prefetch();
    while (current) {
      let left = current.size;
      while (left > 0) {
        if (left <= prefetchAheadBytes) upcoming ??= prefetch();
        const step: IteratorResult<Uint8Array> = await current.next();
        if (step.done) throw short();
        left -= step.value.length;
        sent += step.value.length;
        if (left < 0) throw short();
        yield step.value;
      }
      await current.close();
      current = await (upcoming ?? prefetch());
      upcoming = undefined;
    }
    if (sent !== length) throw short();
  } finally {
    const close = (opened: Opened | undefined): Promise<void> | undefined => opened?.close();
    // A read that still waits for its head is closed once it has it: nobody waits for that.
    const closing = [close(current), upcoming?.then(close, () => undefined)];
    for (const closed of closing) {
      closed?.catch((error: unknown) => {
        deps.log.warn("A read could not be closed", { error: String(error) });
      });
    }
    void segments.return();
  }
}

async function openNext(
  data: Data,
  segments: AsyncGenerator<Segment, void, void>,
): Promise<Opened | undefined> {
  const { value: segment, done } = await segments.next();
  if (done) return undefined;
  const source =
    segment.kind === "bytes"
      ? single(segment.bytes)
      : data.read(segment.block, segment.from, segment.to, segment.owner)[Symbol.asyncIterator]();
  const first = source.next();
  first.catch(() => undefined); // told by next()
  let started = false;
  return {
    size: segment.kind === "bytes" ? segment.bytes.length : segment.to - segment.from,
    next: () => {
      if (started) return source.next();
      started = true;
      return first;
    },
    close: async () => {
      await source.return?.();
    },
  };
}

async function* single(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}

function short(): RingstowError {
  return new RingstowError("Corrupt", "Cannot send the object: its stored length is wrong");
}
