// Writes an iterable to a response: back-pressure by the socket, one packet for a small answer, a broken connection
// for a broken body, return() on the source when the client leaves.
import { type ServerResponse } from "node:http";
import { giveChunk } from "../../shared/chunk-memory.ts";
import { type ByteStream } from "../../shared/object-service.ts";
import { type Log } from "../ports.ts";

/**
 * Sends status, headers (with content-length) and body, whose chunks are given back when they have left. Resolves when all was handed to the socket or the exchange
 * is over. Never throws: what goes wrong here can only break the connection.
 */
export async function writeBody(
  outgoing: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: ByteStream,
  log: Log | undefined,
): Promise<void> {
  const iterator = body[Symbol.asyncIterator]();
  const writer = new BodyWriter(outgoing, Number(headers["content-length"]));
  let over = false;
  const stop = (): void => {
    if (over) return;
    over = true;
    writer.wake();
    // The client is gone: nobody but the log can hear of a failure to stop.
    void Promise.resolve(iterator.return?.()).catch((error: unknown) =>
      log?.warn("A body did not stop", { error }),
    );
  };
  if (outgoing.destroyed) return stop();
  outgoing.once("close", stop);
  try {
    for (;;) {
      const step = await iterator.next();
      if (over) return;
      if (!outgoing.headersSent) outgoing.writeHead(status, headers);
      if (step.done) {
        over = true;
        writer.end();
        return;
      }
      await writer.write(step.value);
      if (over) return;
    }
  } catch (error) {
    if (!over) log?.warn("A body broke", { error });
    over = true; // an iterator that threw has ended itself
    outgoing.destroy();
  } finally {
    outgoing.off("close", stop);
  }
}

class BodyWriter {
  readonly #outgoing: ServerResponse;
  readonly #length: number;
  #bytes = 0;
  #wake: (() => void) | undefined;

  constructor(outgoing: ServerResponse, length: number) {
    this.#outgoing = outgoing;
    this.#length = length;
  }

  /** Resolves when the socket takes more, or at wake(). */
  async write(chunk: Uint8Array): Promise<void> {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#length) throw new Error("The body is longer than its declared length");
    // node:http joins the head and a first chunk into one write only when it is the last, too.
    if (this.#bytes === this.#length && chunk.length === this.#length) {
      this.#outgoing.end(chunk, () => giveChunk(chunk));
      return;
    }
    const written = (error: Error | null | undefined): void => {
      if (!error) giveChunk(chunk);
    };
    if (this.#outgoing.write(chunk, written)) return;
    await new Promise<void>((resolve) => {
      this.#wake = () => {
        this.#outgoing.off("drain", resolve);
        resolve();
      };
      this.#outgoing.once("drain", resolve);
    });
    this.#wake = undefined;
  }

  end(): void {
    if (this.#bytes < this.#length) throw new Error("The body is shorter than its declared length");
    if (!this.#outgoing.writableEnded) this.#outgoing.end();
  }

  wake(): void {
    this.#wake?.();
  }
}
