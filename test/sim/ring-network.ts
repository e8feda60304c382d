// The network of simulated rings of thousands of nodes. Lighter than the simulator's: no streams, no faults but nodes
// that are down. Every message is packed by the peer link's own encoder and counted as its frames would be.
import { type NodeId } from "../../shared/ids.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type Peer, type PeerHandlers, type Transport, TransportError } from "../../node/ports.ts";
import { frameHeaderBytes } from "../../node/runtime/frame.ts";
import {
  describeFailure,
  failureFrom,
  packValue,
  plainView,
  unpackValue,
} from "../../node/runtime/frame-values.ts";
import { type VirtualClock } from "./virtual-clock.ts";

/** Hears of every frame: the call it belongs to, what it carries, its bytes on the peer link (TLS and IP not counted). */
export type FrameListener = (
  name: string,
  kind: "request" | "reply",
  value: unknown,
  bytes: number,
) => void;

interface End {
  readonly id: NodeId;
  readonly address: string;
  handlers: PeerHandlers | undefined;
}

export class RingNetwork {
  onFrame: FrameListener = () => {};
  readonly #clock: VirtualClock;
  readonly #delayMs: () => number;
  readonly #ends = new Map<string, End>();

  constructor(clock: VirtualClock, delayMs: () => number) {
    this.#clock = clock;
    this.#delayMs = delayMs;
  }

  attach(address: string, id: NodeId): Transport {
    const end: End = { id, address, handlers: undefined };
    this.#ends.set(address, end);
    return {
      call: (peer, name, request, timeoutMs) => this.#call(end, peer, name, request, timeoutMs),
      open: () => Promise.reject(new RingstowError("InvalidRequest", "Cannot open: no streams")),
      serve: (handlers) => {
        end.handlers = handlers;
      },
      close: () => {
        this.detach(address);
        return Promise.resolve();
      },
    };
  }

  /** Power off: the host is gone, what is sent to it is lost. */
  detach(address: string): void {
    this.#ends.delete(address);
  }

  #call(from: End, peer: Peer, name: string, request: unknown, timeoutMs: number) {
    const bytes = plainView(packValue([name, request]));
    this.onFrame(name, "request", request, frameHeaderBytes + bytes.length);
    return new Promise<unknown>((resolve, reject) => {
      const timer = this.#clock.after(timeoutMs, () => {
        const text = `Cannot call "${name}" of "${peer.address}": no answer in time`;
        reject(new TransportError("timeout", text));
      });
      const settle = (answer: () => void): void => {
        this.#clock.after(this.#delayMs(), () => {
          timer.cancel();
          if (this.#ends.get(from.address) === from) answer();
        });
      };
      this.#clock.after(this.#delayMs(), () => {
        const to = this.#ends.get(peer.address);
        if (!to?.handlers || (peer.id !== undefined && peer.id !== to.id)) return;
        const [, value] = unpackValue(bytes) as [string, unknown];
        to.handlers.call(name, value, { id: from.id, address: from.address }).then(
          (reply) => {
            const packed = plainView(packValue(reply));
            this.onFrame(name, "reply", reply, frameHeaderBytes + packed.length);
            settle(() => resolve(unpackValue(packed)));
          },
          (error: unknown) => {
            const packed = plainView(packValue(describeFailure(error)));
            this.onFrame(name, "reply", undefined, frameHeaderBytes + packed.length);
            settle(() => reject(failureFrom(unpackValue(packed))));
          },
        );
      });
    });
  }
}
