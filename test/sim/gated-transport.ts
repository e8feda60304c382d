// Stands between a node and its transport in the simulator: holds everything back while the node's process is
// paused, and writes every delivery into the trace.
import {
  type Peer,
  type PeerHandlers,
  type PeerStream,
  type Transport,
  TransportError,
} from "../../node/ports.ts";
import { type ProcessGate } from "./process-gate.ts";
import { RingstowError } from "../../shared/errors.ts";

export interface Observer {
  /** A message, a reply or a chunk came in; `request` is a call's. */
  deliver(from: string, name: string, request?: unknown): void;
  /** A call came in; what is given back is told the reply, when there is one. */
  asked(name: string, request: unknown): (reply: unknown) => void;
  /** A handler threw what is no RingstowError or TransportError. */
  fault(name: string, error: unknown): void;
}

export class GatedTransport implements Transport {
  readonly #inner: Transport;
  readonly #gate: ProcessGate;
  readonly #observer: Observer;

  constructor(inner: Transport, gate: ProcessGate, observer: Observer) {
    this.#inner = inner;
    this.#gate = gate;
    this.#observer = observer;
  }

  async call(peer: Peer, name: string, request: unknown, timeoutMs: number): Promise<unknown> {
    try {
      return await this.#inner.call(peer, name, request, timeoutMs);
    } finally {
      await this.#gate.pass();
      this.#observer.deliver(peer.address, `${name} reply`);
    }
  }

  async open(peer: Peer, name: string, header: unknown, timeoutMs: number): Promise<PeerStream> {
    const stream = await this.#inner.open(peer, name, header, timeoutMs);
    await this.#gate.pass();
    return this.#wrap(stream, peer.address, name);
  }

  serve(handlers: PeerHandlers): void {
    this.#inner.serve({
      call: async (name, request, caller) => {
        await this.#gate.pass();
        this.#observer.deliver(caller.address, name, request);
        const answered = this.#observer.asked(name, request);
        const reply = await this.#watch(name, handlers.call(name, request, caller));
        answered(reply);
        return reply;
      },
      stream: async (name, header, stream, caller) => {
        await this.#gate.pass();
        this.#observer.deliver(caller.address, name);
        const wrapped = this.#wrap(stream, caller.address, name);
        return this.#watch(name, handlers.stream(name, header, wrapped, caller));
      },
    });
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #watch<T>(name: string, work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof RingstowError || error instanceof TransportError))
        this.#observer.fault(name, error);
      throw error;
    }
  }

  #wrap(stream: PeerStream, from: string, name: string): PeerStream {
    return {
      send: async (chunk) => {
        await stream.send(chunk);
        await this.#gate.pass();
      },
      receive: async () => {
        const chunk = await stream.receive();
        await this.#gate.pass();
        this.#observer.deliver(from, `${name} chunk`);
        return chunk;
      },
      end: () => stream.end(),
      reset: (reason) => stream.reset(reason),
    };
  }
}
