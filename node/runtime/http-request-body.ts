// A request's body from the socket as a ByteStream.
import { type IncomingMessage, type ServerResponse } from "node:http";
import { RingstowError } from "../../shared/errors.ts";
import { type ByteStream } from "../../shared/object-service.ts";
import { GatheredBody } from "./gathered-body.ts";

/** A body up to this size comes in one or two pieces of the socket. */
const gatheredBytesMin = 64 * 1024;

/**
 * The raw body; its chunks are the reader's. Throws IncompleteBody when the client leaves before the end. Leaving the loop early leaves the
 * connection open for the answer; the server then drains or closes it.
 */
export function bodyOf(incoming: IncomingMessage): ByteStream {
  return {
    [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
      if (isLarge(incoming)) return new GatheredBody(incoming, incomplete);
      const inner = incoming.iterator({ destroyOnReturn: false });
      let bytes = 0;
      return {
        async next() {
          // A request that was destroyed with bytes unread must not look like one that ended.
          if (incoming.destroyed && !incoming.readableEnded) throw incomplete(bytes);
          let step: IteratorResult<Uint8Array>;
          try {
            step = await inner.next();
          } catch {
            throw incomplete(bytes);
          }
          if (!step.done) bytes += step.value.length;
          else if (!incoming.readableEnded) throw incomplete(bytes);
          return step;
        },
        async return() {
          await inner.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

/** Or may be. */
function isLarge({ headers }: IncomingMessage): boolean {
  const length = headers["content-length"];
  return length === undefined || Number(length) > gatheredBytesMin;
}

function incomplete(bytes: number): RingstowError {
  return new RingstowError("IncompleteBody", `The client left after ${bytes} bytes of its body`);
}

/**
 * For a request with `Expect: 100-continue`: sends "100 Continue" when its body is first asked for. Until then the
 * connection is marked to be closed after the answer, since nobody knows whether the client still sends the body.
 */
export function awaitContinue(incoming: IncomingMessage, outgoing: ServerResponse): void {
  const keepAlive = outgoing.shouldKeepAlive;
  outgoing.shouldKeepAlive = false;
  const read = incoming._read.bind(incoming);
  incoming._read = (size) => {
    incoming._read = read;
    if (!outgoing.headersSent && !outgoing.destroyed) {
      outgoing.shouldKeepAlive = keepAlive;
      outgoing.writeContinue();
    }
    read(size);
  };
}
