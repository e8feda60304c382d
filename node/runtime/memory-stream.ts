// A stream of the memory network: two windowed ends, and between them messages that keep their order.
import { takeChunk } from "../../shared/chunk-memory.ts";
import { TransportError } from "../ports.ts";
import { type MemoryEndpoint } from "./memory-endpoint.ts";
import { WindowedStream } from "./peer-link-stream.ts";

/** One end: where it lives, and how its words reach the other end. */
export class MemoryStreamEnd {
  readonly stream: WindowedStream;
  readonly #owner: MemoryEndpoint;
  readonly #name: string;
  #other: MemoryStreamEnd | undefined;
  /** What is on its way from here, in order. One timer a message, each delivers the oldest. */
  readonly #onTheWay: ((other: MemoryStreamEnd) => void)[] = [];
  #lastArrivesAtMs = 0;

  constructor(owner: MemoryEndpoint, name: string) {
    this.#owner = owner;
    this.#name = name;
    this.stream = new WindowedStream({
      chunk: (bytes) => {
        const copy = takeChunk(bytes.length);
        copy.set(bytes);
        this.post((other) => other.stream.onChunk(copy));
      },
      end: () => this.post((other) => other.stream.onEnd()),
      credit: (bytes) => this.post((other) => other.stream.onCredit(bytes)),
      reset: (reason) => this.post((other) => other.stream.onReset(reason)),
      finished: () => owner.streams.delete(this),
    });
    owner.streams.add(this);
  }

  connect(other: MemoryStreamEnd): void {
    this.#other = other;
  }

  /** Address of the node at the other end. */
  get peer(): string | undefined {
    return this.#other && this.#other.#owner.address;
  }

  /** Runs `deliver` at the other end after all that was posted before. A lost message breaks both ends. */
  post(deliver: (other: MemoryStreamEnd) => void): void {
    const other = this.#other;
    if (!other || this.#owner.crashed) return;
    const { clock } = this.#owner.network;
    const delay = this.#delay(other);
    if (delay === undefined) {
      clock.after(0, () => this.breakBoth("the connection broke"));
      return;
    }
    const now = clock.monotonicMs();
    this.#lastArrivesAtMs = Math.max(this.#lastArrivesAtMs, now + delay);
    this.#onTheWay.push(deliver);
    clock.after(this.#lastArrivesAtMs - now, () => {
      const oldest = this.#onTheWay.shift();
      if (!other.#owner.crashed) oldest?.(other);
    });
  }

  /** Both ends fail: this one at once (never, if its node crashed), the other when it can know. */
  breakBoth(reason: string): void {
    const error = new TransportError("closed", `Cannot go on with the stream: ${reason}`);
    this.#break(error);
    const other = this.#other;
    if (other) this.#owner.network.clock.after(this.#delay(other) ?? 0, () => other.#break(error));
  }

  #break(error: TransportError): void {
    if (this.#owner.crashed) this.#owner.streams.delete(this);
    else this.stream.fail(error);
  }

  #delay(other: MemoryStreamEnd): number | undefined {
    const { policy } = this.#owner.network;
    return policy(this.#owner.address, other.#owner.address, "stream", this.#name)[0];
  }
}

/** The two ends of a new stream: the opener's and the other's. */
export function connectStream(
  opener: MemoryEndpoint,
  callee: MemoryEndpoint,
  name: string,
): [MemoryStreamEnd, MemoryStreamEnd] {
  const near = new MemoryStreamEnd(opener, name);
  const far = new MemoryStreamEnd(callee, name);
  near.connect(far);
  far.connect(near);
  return [near, far];
}
