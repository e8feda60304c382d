// The carrier on Node: undici pools, one a node. Bodies go through without web streams. Only serve.ts and other
// Node entries import this file.
import { type Socket } from "node:net";
import { type Dispatcher, Pool, buildConnector } from "undici";
import { freeChunk, giveChunk } from "../../shared/chunk-memory.ts";
import { GatheredChunks } from "../../shared/gathered-chunks.ts";
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
/** A reply up to this size comes in one or two pieces of the socket. */
const gatheredBytesMin = 64 * 1024;

const connectSocket = buildConnector({ timeout: connectTimeoutMs });
/** Sockets that give the chunks of a request's body back when they have left: undici does not tell. */
const connect: buildConnector.connector = (options, callback) =>
  connectSocket(options, (...result) => {
    const [, socket] = result;
    if (socket) givingBack(socket);
    callback(...result);
  });

export class NodeCaller implements HttpCaller {
  readonly #pools = new Map<string, Pool>();
  readonly #from: string | undefined;
  #closed = false;

  /** @param from own address to call from; undefined: the system chooses */
  constructor(from?: string) {
    this.#from = from;
  }

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
      connect,
      ...(this.#from === undefined ? {} : { localAddress: this.#from }),
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
  /** Of a large reply: then `#chunks` stays empty. */
  #gathered: GatheredChunks | undefined;
  /** Declared and not come yet. */
  #leftBytes = 0;
  #handingOn: NodeJS.Immediate | undefined;
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
    this.#leftBytes = Number(headers["content-length"] ?? 0);
    if (this.#leftBytes > gatheredBytesMin) this.#gathered = new GatheredChunks();
    const header = (name: string): string | undefined => {
      const value = headers[name];
      return Array.isArray(value) ? value.join(", ") : value;
    };
    this.#resolve({ status, header, body: this });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    if (this.#gathered) return this.#gather(controller, chunk, this.#gathered);
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

  #gather(
    controller: Dispatcher.DispatchController,
    piece: Uint8Array,
    chunks: GatheredChunks,
  ): void {
    chunks.add(piece);
    this.#leftBytes -= piece.length;
    const full = this.#waiter && chunks.takeFull();
    if (full) this.#settle({ done: false, value: full });
    else if (this.#waiter) this.#handOnSoon();
    if (chunks.bytes >= streamWindowBytes) controller.pause();
    // Of what undici read with the piece it may still need the rest when it pauses, and at the end.
    else if (this.#leftBytes > 0) freeChunk(piece);
  }

  /** Answers who waits, after what the socket has ready has come. */
  #handOnSoon(): void {
    this.#handingOn ??= setImmediate(() => {
      this.#handingOn = undefined;
      const chunk = this.#waiter && this.#gathered?.take();
      if (chunk) this.#settle({ done: false, value: chunk });
    });
  }

  #settle(step: IteratorResult<Uint8Array>): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.resolve(step);
  }

  onResponseEnd(): void {
    this.#ended = true;
    const chunk = this.#waiter && this.#gathered?.take();
    this.#settle(chunk ? { done: false, value: chunk } : { done: true, value: undefined });
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
    const value =
      this.#chunks.shift() ?? (this.#ended ? this.#gathered?.take() : this.#gathered?.takeFull());
    if (value) {
      if (!this.#gathered) this.#heldBytes -= value.length;
      const heldBytes = this.#gathered?.bytes ?? this.#heldBytes;
      if (this.#controller?.paused && heldBytes < streamWindowBytes / 2) this.#controller.resume();
      return Promise.resolve({ done: false, value });
    }
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      if (this.#gathered && this.#gathered.bytes > 0) this.#handOnSoon();
    });
  }

  return(): Promise<IteratorResult<Uint8Array>> {
    this.#chunks.length = 0;
    this.#gathered = undefined;
    clearImmediate(this.#handingOn);
    if (!this.#ended) {
      this.#ended = true;
      this.#waiter?.resolve({ done: true, value: undefined });
      this.#waiter = undefined;
      this.#controller?.abort(new Error("Nobody wants the rest of the reply"));
    }
    return Promise.resolve({ done: true, value: undefined });
  }
}

/** The chunk must be the body's own: undici writes each once, and keeps none. */
function givingBack(socket: Socket): void {
  const write = socket.write.bind(socket) as (...all: unknown[]) => boolean;
  socket.write = (chunk: Uint8Array | string, ...rest: unknown[]): boolean =>
    typeof chunk === "string" || rest.length > 0
      ? write(chunk, ...rest)
      : write(chunk, (error: Error | null | undefined) => {
          if (!error) giveChunk(chunk);
        });
}
