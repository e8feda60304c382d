// The carrier on Node: undici pools, one a node. Bodies go through without web streams. Only serve.ts and other
// Node entries import this file.
import { type Dispatcher, Pool } from "undici";
import {
  bodyIdleTimeoutMs,
  callHeaderBytesMax,
  connectTimeoutMs,
  nodePoolsMax,
  streamWindowBytes,
} from "../../shared/limits.ts";
import { type ByteStream } from "../../shared/object-service.ts";
import { type HttpCall, HttpCallError, type HttpCaller, type HttpReply } from "./http-caller.ts";

// Below the server's: the client closes idle connections first.
const idleConnectionMs = 20_000;

export class NodeCaller implements HttpCaller {
  readonly #pools = new Map<string, Pool>();
  #closed = false;

  call(call: HttpCall): Promise<HttpReply> {
    const body = new SentBody(call.body);
    return new Promise<HttpReply>((resolve, reject) => {
      const exchange = new Exchange(resolve, (error, started) =>
        reject(body.cause(error, call, started)),
      );
      const { origin, path, method, headTimeoutMs } = call;
      this.#pool(origin).dispatch(
        {
          origin,
          path,
          method,
          headers: { ...call.headers, ...body.headers },
          body: body.payload as Uint8Array, // the types leave out iterables, which undici takes
          headersTimeout: headTimeoutMs,
          bodyTimeout: bodyIdleTimeoutMs,
        },
        exchange,
      );
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#pools.values()].map((pool) => pool.destroy()));
  }

  #pool(origin: string): Pool {
    if (this.#closed)
      throw new HttpCallError("connect", "Cannot call a node: the caller is closed");
    const known = this.#pools.get(origin);
    if (known) return known;
    // As many connections as there are requests: a slow download must not hold up others. The server that feeds
    // this caller bounds them.
    const pool = new Pool(origin, {
      connections: null,
      pipelining: 1,
      connect: { timeout: connectTimeoutMs },
      keepAliveTimeout: idleConnectionMs,
      keepAliveMaxTimeout: idleConnectionMs, // else the server's Keep-Alive header would stretch it
      maxHeaderSize: callHeaderBytesMax,
    });
    if (this.#pools.size >= nodePoolsMax) this.#dropOldest();
    this.#pools.set(origin, pool);
    return pool;
  }

  #dropOldest(): void {
    const oldest = this.#pools.entries().next().value;
    if (!oldest) return;
    this.#pools.delete(oldest[0]);
    void oldest[1].close(); // lets requests under way finish; it never rejects
  }
}

/** A request body that remembers what its own iterator threw. */
class SentBody {
  readonly payload: string | Uint8Array | AsyncIterable<Uint8Array> | null;
  readonly headers: Readonly<Record<string, string>>;
  #thrown: { readonly error: unknown } | undefined;

  constructor(body: HttpCall["body"]) {
    if (body === undefined || typeof body === "string" || body instanceof Uint8Array) {
      this.payload = body ?? null;
      this.headers = {};
      return;
    }
    this.payload = this.#watched(body.stream);
    this.headers = body.length === undefined ? {} : { "content-length": String(body.length) };
  }

  cause(error: Error & { code?: string }, call: HttpCall, started: boolean): unknown {
    if (this.#thrown) return this.#thrown.error;
    const late = error.code === "UND_ERR_HEADERS_TIMEOUT" || error.code === "UND_ERR_BODY_TIMEOUT";
    const failure = started ? (late ? "timeout" : "broken") : "connect";
    return new HttpCallError(failure, `Cannot call "${call.origin}": ${error.message}`, error);
  }

  #watched(stream: ByteStream): ByteStream {
    return {
      [Symbol.asyncIterator]: () => {
        const inner = stream[Symbol.asyncIterator]();
        return {
          next: async () => {
            try {
              return await inner.next();
            } catch (error) {
              this.#thrown = { error };
              throw error;
            }
          },
          return: async () => {
            await inner.return?.();
            return { done: true, value: undefined };
          },
        };
      },
    };
  }
}

interface Waiter {
  readonly resolve: (step: IteratorResult<Uint8Array>) => void;
  readonly reject: (error: unknown) => void;
}

/** One exchange: resolves with the head, then is the body's iterator, holding at most about a window of bytes. */
class Exchange implements Dispatcher.DispatchHandler, AsyncIterator<Uint8Array>, ByteStream {
  readonly #resolve: (reply: HttpReply) => void;
  readonly #reject: (error: Error, started: boolean) => void;
  #controller: Dispatcher.DispatchController | undefined;
  #headed = false;
  readonly #chunks: Uint8Array[] = [];
  #heldBytes = 0;
  #ended = false;
  #failure: HttpCallError | undefined;
  #waiter: Waiter | undefined;

  constructor(
    resolve: (reply: HttpReply) => void,
    reject: (error: Error, started: boolean) => void,
  ) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) return;
    this.#headed = true;
    const header = (name: string): string | undefined => {
      const value = headers[name];
      return Array.isArray(value) ? value.join(", ") : value;
    };
    this.#resolve({ status, header, body: this });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    const waiter = this.#waiter;
    if (waiter) {
      this.#waiter = undefined;
      waiter.resolve({ done: false, value: chunk });
      return;
    }
    this.#chunks.push(chunk);
    this.#heldBytes += chunk.length;
    if (this.#heldBytes >= streamWindowBytes) controller.pause();
  }

  onResponseEnd(): void {
    this.#ended = true;
    this.#waiter?.resolve({ done: true, value: undefined });
    this.#waiter = undefined;
  }

  onResponseError(_controller: unknown, error: Error): void {
    if (!this.#headed) {
      this.#reject(error, this.#controller !== undefined);
      return;
    }
    this.#ended = true;
    this.#failure = new HttpCallError("broken", `The reply broke: ${error.message}`, error);
    this.#waiter?.reject(this.#failure);
    this.#waiter = undefined;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    const value = this.#chunks.shift();
    if (value) {
      this.#heldBytes -= value.length;
      if (this.#controller?.paused && this.#heldBytes < streamWindowBytes / 2)
        this.#controller.resume();
      return Promise.resolve({ done: false, value });
    }
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  return(): Promise<IteratorResult<Uint8Array>> {
    this.#chunks.length = 0;
    if (!this.#ended) {
      this.#ended = true;
      this.#waiter?.resolve({ done: true, value: undefined });
      this.#waiter = undefined;
      this.#controller?.abort(new Error("Nobody wants the rest of the reply"));
    }
    return Promise.resolve({ done: true, value: undefined });
  }
}
