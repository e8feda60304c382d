// A small request body, gathered whole from the socket. It comes with its head in one or two packets, and a stream's
// machinery of iterators and watchers for it costs more than all else that a server does with it.
import { type IncomingMessage } from "node:http";
import { concat } from "../../shared/body-stream.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type ByteStream } from "../../shared/object-service.ts";

/**
 * A body whose declared length is small, in one chunk; nothing is read before it is asked for. Throws IncompleteBody
 * when the client leaves before the end. Leaving the loop early leaves the connection open for the answer.
 */
export function smallBodyOf(incoming: IncomingMessage): ByteStream {
  return {
    [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
      let asked = false;
      return {
        async next() {
          if (asked) return { done: true, value: undefined };
          asked = true;
          const bytes = await gather(incoming);
          return bytes.length > 0
            ? { done: false, value: bytes }
            : { done: true, value: undefined };
        },
        return() {
          asked = true;
          return Promise.resolve({ done: true, value: undefined });
        },
      };
    },
  };
}

function gather(incoming: IncomingMessage): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    let over = false;
    const cutOff = (): void => {
      if (over) return; // "close" comes after "end", too, and an error's stack is not for nothing
      over = true;
      const text = `The client left after ${bytes} bytes of its body`;
      reject(new RingstowError("IncompleteBody", text));
    };
    // A request that was destroyed with bytes unread must not look like one that ended.
    if (incoming.destroyed && !incoming.readableEnded) return cutOff();
    incoming.on("data", (chunk: Uint8Array) => {
      bytes += chunk.length;
      chunks.push(chunk);
    });
    incoming.once("end", () => {
      over = true;
      resolve(chunks.length === 1 ? chunks[0]! : concat(chunks, bytes));
    });
    incoming.once("error", cutOff);
    incoming.once("close", cutOff);
  });
}
