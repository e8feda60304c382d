// Stands between a node and its transport in the simulator: holds everything back while the node's process is
// paused, and writes every delivery into the trace.
import { type Peer, type PeerHandlers, type PeerStream, type Transport } from "../../node/ports.ts";
import { type ProcessGate } from "./process-gate.ts";
import { type Trace } from "./trace.ts";
import { type VirtualClock } from "./virtual-clock.ts";

export class GatedTransport implements Transport {
  readonly #inner: Transport;
  readonly #address: string;
  readonly #gate: ProcessGate;
  readonly #clock: VirtualClock;
  readonly #trace: Trace;

  constructor(
    inner: Transport,
    address: string,
    gate: ProcessGate,
    clock: VirtualClock,
    trace: Trace,
  ) {
    this.#inner = inner;
    this.#address = address;
    this.#gate = gate;
    this.#clock = clock;
    this.#trace = trace;
  }

  async call(peer: Peer, name: string, request: unknown, timeoutMs: number): Promise<unknown> {
    try {
      return await this.#inner.call(peer, name, request, timeoutMs);
    } finally {
      await this.#gate.pass();
      this.#note(peer.address, `${name} reply`);
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
        this.#note(caller.address, name);
        return handlers.call(name, request, caller);
      },
      stream: async (name, header, stream, caller) => {
        await this.#gate.pass();
        this.#note(caller.address, name);
        return handlers.stream(name, header, this.#wrap(stream, caller.address, name), caller);
      },
    });
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #note(from: string, name: string): void {
    this.#trace.add(this.#clock.now, from, this.#address, name);
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
        this.#note(from, `${name} chunk`);
        return chunk;
      },
      end: () => stream.end(),
      reset: (reason) => stream.reset(reason),
    };
  }
}
