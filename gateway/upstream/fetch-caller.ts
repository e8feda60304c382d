// The carrier on edge runtimes: global fetch and web streams.
import { fromReadable, toReadable } from "../../shared/body-stream.ts";
import { bodyIdleTimeoutMs } from "../../shared/limits.ts";
import { type ByteStream } from "../../shared/object-service.ts";
import { type HttpCall, HttpCallError, type HttpCaller, type HttpReply } from "./http-caller.ts";

/** Calls by `fetch`. A failed fetch does not tell whether anything was sent: such failures are "broken". */
export class FetchCaller implements HttpCaller {
  readonly #underWay = new Set<AbortController>();

  async call(call: HttpCall): Promise<HttpReply> {
    const controller = new AbortController();
    this.#underWay.add(controller);
    const over = (): void => {
      this.#underWay.delete(controller);
    };
    const watch = new UploadWatch(call, controller);
    try {
      const response = await fetch(call.origin + call.path, {
        method: call.method,
        headers: call.headers,
        redirect: "manual", // following would hand the signature to another host
        cache: "no-store",
        signal: controller.signal,
        ...watch.init(),
      });
      watch.clear();
      return {
        status: response.status,
        header: (name) => response.headers.get(name) ?? undefined,
        body: idleLimited(response.body, controller, over),
      };
    } catch (error) {
      over();
      watch.clear();
      if (watch.bodyError !== undefined) throw watch.bodyError;
      const failure = watch.timedOut ? "timeout" : "broken";
      throw new HttpCallError(failure, `Cannot call "${call.origin}": ${String(error)}`, error);
    }
  }

  close(): Promise<void> {
    for (const controller of this.#underWay) controller.abort();
    return Promise.resolve();
  }
}

/** Aborts when no byte moved for the head's time; remembers what the body's iterator threw. */
class UploadWatch {
  bodyError: unknown;
  timedOut = false;
  readonly #call: HttpCall;
  readonly #controller: AbortController;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(call: HttpCall, controller: AbortController) {
    this.#call = call;
    this.#controller = controller;
    this.#restart();
  }

  init(): Record<string, unknown> {
    const { body } = this.#call;
    if (body === undefined || typeof body === "string" || body instanceof Uint8Array)
      return { body };
    return { body: toReadable(this.#watched(body.stream)), duplex: "half" };
  }

  clear(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
  }

  #restart(): void {
    this.clear();
    this.#timer = setTimeout(() => {
      this.timedOut = true;
      this.#controller.abort();
    }, this.#call.headTimeoutMs);
  }

  #watched(stream: ByteStream): ByteStream {
    return {
      [Symbol.asyncIterator]: () => {
        const inner = stream[Symbol.asyncIterator]();
        return {
          next: async () => {
            this.clear(); // a slow client is not a slow node
            try {
              return await inner.next();
            } catch (error) {
              this.bodyError = error;
              throw error;
            } finally {
              this.#restart();
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

/** The reply's body, broken off when the node is silent for too long. */
function idleLimited(
  body: ReadableStream<Uint8Array> | null,
  controller: AbortController,
  over: () => void,
): ByteStream {
  return {
    [Symbol.asyncIterator]() {
      const inner = fromReadable(body)[Symbol.asyncIterator]();
      return {
        async next() {
          const timer = setTimeout(() => controller.abort(), bodyIdleTimeoutMs);
          try {
            const step = await inner.next();
            if (step.done) over();
            return step;
          } catch (error) {
            over();
            throw new HttpCallError("broken", `The reply broke: ${String(error)}`, error);
          } finally {
            clearTimeout(timer);
          }
        },
        async return() {
          over();
          await inner.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
