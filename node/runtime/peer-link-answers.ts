// What waits for an answer on one connection: calls, or streams that are being opened. Each entry settles once: by
// its answer, its time-out, or the connection's end.
import { type NodeId } from "../../shared/ids.ts";
import { TransportError } from "../ports.ts";

export interface Waiting<T> {
  readonly id: number;
  readonly name: string;
  /** Who must answer; undefined is anybody. */
  readonly expected: NodeId | undefined;
  /** What is sent when the connection is ready; undefined once it was. */
  unsent: Uint8Array | undefined;
  resolve: (value: T) => void;
  reject: (error: Error) => void;
  timer: NodeJS.Timeout | undefined;
}

export class Answers<T> {
  readonly #waiting = new Map<number, Waiting<T>>();
  readonly #onTimeout: (waiting: Waiting<T>) => void;

  /** `onTimeout` runs after the entry failed. */
  constructor(onTimeout: (waiting: Waiting<T>) => void) {
    this.#onTimeout = onTimeout;
  }

  get size(): number {
    return this.#waiting.size;
  }

  has(id: number): boolean {
    return this.#waiting.has(id);
  }

  all(): Waiting<T>[] {
    return [...this.#waiting.values()];
  }

  /** `id` must be free. The timer does not keep the process alive. */
  wait(
    id: number,
    name: string,
    expected: NodeId | undefined,
    timeoutMs: number,
    unsent: Uint8Array | undefined,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting<T> = { id, name, expected, unsent, resolve, reject, timer: undefined };
      waiting.timer = setTimeout(this.#expire, timeoutMs, waiting).unref();
      this.#waiting.set(id, waiting);
    });
  }

  /** Takes an entry out; undefined when it has settled already. */
  take(id: number): Waiting<T> | undefined {
    const waiting = this.#waiting.get(id);
    if (!waiting) return undefined;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    return waiting;
  }

  failAll(error: Error): void {
    for (const { id } of this.all()) this.take(id)?.reject(error);
  }

  #expire = (waiting: Waiting<T>): void => {
    this.#waiting.delete(waiting.id);
    waiting.reject(
      new TransportError("timeout", `Cannot get "${waiting.name}": no answer in time`),
    );
    this.#onTimeout(waiting);
  };
}
