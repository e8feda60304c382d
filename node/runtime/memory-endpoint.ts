// One node's end of the memory network: its calls, the calls it answers, its streams.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import { callsInFlightMax } from "../../shared/limits.ts";
import {
  type Peer,
  type PeerHandlers,
  type PeerStream,
  type Timer,
  type Transport,
  type TransportFailure,
  TransportError,
} from "../ports.ts";
import {
  describeFailure,
  failureFrom,
  isExpected,
  packBounded,
  plainView,
  unpackValue,
} from "./frame-values.ts";
import { type MemoryNetwork, type MessageKind } from "./memory-network.ts";
import { type MemoryStreamEnd, connectStream } from "./memory-stream.ts";

/** Something that waits for an answer and can be told why none comes. */
interface Waiting {
  readonly to: string;
  fail(error: Error): void;
  drop(): void;
}

export class MemoryEndpoint implements Transport {
  readonly address: string;
  readonly id: NodeId | undefined;
  readonly network: MemoryNetwork;
  readonly streams = new Set<MemoryStreamEnd>();
  #state: "open" | "closed" | "crashed" = "open";
  #handlers: PeerHandlers | undefined;
  readonly #waiting = new Set<Waiting>();
  readonly #inFlight = new Map<string, number>();
  /** Calls that a handler here works on: told to their callers when this end goes. */
  readonly #answering = new Set<(failure: TransportFailure) => void>();

  constructor(network: MemoryNetwork, address: string, id: NodeId | undefined) {
    this.network = network;
    this.address = address;
    this.id = id;
  }

  get alive(): boolean {
    return this.#state === "open";
  }

  get crashed(): boolean {
    return this.#state === "crashed";
  }

  async call(peer: Peer, name: string, request: unknown, timeoutMs: number): Promise<unknown> {
    const bytes = packPlain(name, request);
    return this.#await<unknown>(peer, name, timeoutMs, (resolve, fail) => {
      const connected = this.network.find(peer.address);
      this.post(peer.address, "request", name, () => {
        const callee = this.#findCallee(peer, connected, fail);
        if (callee) callee.#answer(this, name, bytes, resolve, fail);
      });
    });
  }

  async open(peer: Peer, name: string, header: unknown, timeoutMs: number): Promise<PeerStream> {
    const bytes = packPlain(name, header);
    return this.#await<PeerStream>(peer, name, timeoutMs, (resolve, fail, isWaiting) => {
      const [delay] = this.network.policy(this.address, peer.address, "stream", name);
      if (delay === undefined) return; // lost: the time-out will say so
      const age = this.network.linkAge(this.address, peer.address);
      const connected = this.network.find(peer.address);
      this.network.clock.after(delay, () => {
        if (this.network.linkAge(this.address, peer.address) !== age) return;
        const callee = this.#findCallee(peer, connected, fail);
        if (!callee || this.crashed) return;
        callee.#accept(this, name, bytes, resolve, isWaiting);
      });
    });
  }

  serve(handlers: PeerHandlers): void {
    this.#handlers = handlers;
  }

  close(): Promise<void> {
    if (!this.alive) return Promise.resolve();
    this.#leave("closed");
    for (const waiting of [...this.#waiting])
      waiting.fail(new TransportError("closed", `Cannot go on: "${this.address}" was closed`));
    for (const stream of [...this.streams]) stream.breakBoth("the node was closed");
    return Promise.resolve();
  }

  crash(): void {
    this.#leave("crashed");
    for (const waiting of [...this.#waiting]) waiting.drop();
    for (const stream of [...this.streams]) stream.breakBoth("the node crashed");
  }

  /** Runs `deliver` once for each copy of the message that the policy lets through. */
  post(to: string, kind: MessageKind, name: string, deliver: () => void): void {
    if (this.crashed) return;
    const { network } = this;
    const age = network.linkAge(this.address, to);
    const arrive = (): void => {
      if (network.linkAge(this.address, to) === age) deliver();
    };
    for (const delay of network.policy(this.address, to, kind, name))
      network.clock.after(delay, arrive);
  }

  /** The connection with another node broke. */
  failLink(other: string): void {
    for (const waiting of [...this.#waiting])
      if (waiting.to === other)
        waiting.fail(new TransportError("closed", `Cannot go on with "${other}": the link broke`));
    for (const stream of [...this.streams])
      if (stream.peer === other) stream.breakBoth("the link broke");
  }

  #leave(state: "closed" | "crashed"): void {
    this.#state = state;
    this.network.detach(this);
    for (const tell of [...this.#answering]) tell("closed");
    this.#answering.clear();
  }

  /** A promise that settles by an answer, a failure or the time-out; for a crashed node never. */
  #await<T>(
    peer: Peer,
    name: string,
    timeoutMs: number,
    send: (
      resolve: (value: T) => void,
      fail: (error: Error) => void,
      isWaiting: () => boolean,
    ) => void,
  ): Promise<T> {
    if (this.crashed) return new Promise(() => {});
    const to = peer.address;
    if (!this.alive)
      return Promise.reject(new TransportError("closed", `Cannot call "${name}": closed`));
    const inFlight = this.#inFlight.get(to) ?? 0;
    if (inFlight >= callsInFlightMax)
      return Promise.reject(
        new RingstowError("SlowDown", `Cannot call "${name}" of "${to}": too many calls wait`),
      );
    this.#inFlight.set(to, inFlight + 1);
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        to,
        fail: (error) => {
          if (this.#stopWaiting(waiting, timer)) reject(error);
        },
        drop: () => this.#stopWaiting(waiting, timer),
      };
      const timer = this.network.clock.after(timeoutMs, () =>
        waiting.fail(
          new TransportError("timeout", `Cannot call "${name}" of "${to}": no answer in time`),
        ),
      );
      this.#waiting.add(waiting);
      const answer = (value: T): void => {
        if (this.#stopWaiting(waiting, timer)) resolve(value);
      };
      send(answer, waiting.fail, () => this.#waiting.has(waiting));
    });
  }

  #stopWaiting(waiting: Waiting, timer: Timer): boolean {
    if (!this.#waiting.delete(waiting)) return false;
    timer.cancel();
    const left = (this.#inFlight.get(waiting.to) ?? 1) - 1;
    if (left > 0) this.#inFlight.set(waiting.to, left);
    else this.#inFlight.delete(waiting.to);
    return true;
  }

  /** @param connected who answered at the address when the message was sent; undefined: nobody, it was still to dial */
  #findCallee(
    peer: Peer,
    connected: MemoryEndpoint | undefined,
    fail: (error: Error) => void,
  ): MemoryEndpoint | undefined {
    const callee = this.network.find(peer.address);
    if (callee && connected && callee !== connected) {
      fail(new TransportError("closed", `Cannot go on with "${peer.address}": it started again`));
      return undefined;
    }
    if (!callee) {
      fail(new TransportError("unreachable", `Cannot reach "${peer.address}": nobody answers`));
      return undefined;
    }
    if (peer.id !== undefined && peer.id !== callee.id) {
      const text = `Cannot reach node ${peer.id} at "${peer.address}": ${callee.id} answers there`;
      fail(new TransportError("unreachable", text));
      return undefined;
    }
    return callee;
  }

  #answer(
    caller: MemoryEndpoint,
    name: string,
    request: Uint8Array,
    resolve: (reply: unknown) => void,
    fail: (error: Error) => void,
  ): void {
    // The connection's end is seen with the delay of a reply; when that is lost, the time-out says it.
    const tell = (failure: TransportFailure): void => {
      const text = `Cannot call "${name}" of "${this.address}": it went away`;
      for (const delay of this.network.policy(this.address, caller.address, "reply", name))
        this.network.clock.after(delay, () => fail(new TransportError(failure, text)));
    };
    this.#answering.add(tell);
    const age = this.network.linkAge(this.address, caller.address);
    void this.#handle(caller, name, request).then((settle) => {
      if (!this.#answering.delete(tell)) return; // this end is gone
      if (this.network.linkAge(this.address, caller.address) !== age) return;
      this.post(caller.address, "reply", name, () => settle(resolve, fail));
    });
  }

  /** Never rejects: the outcome as what to do at the caller. */
  async #handle(
    caller: MemoryEndpoint,
    name: string,
    request: Uint8Array,
  ): Promise<(resolve: (reply: unknown) => void, fail: (error: Error) => void) => void> {
    try {
      const handlers = this.#serving(name);
      const from = { id: caller.id, address: caller.address };
      const reply = packPlain(name, await handlers.call(name, unpackValue(request), from));
      return (resolve) => resolve(unpackValue(reply));
    } catch (error) {
      if (!isExpected(error)) this.network.onFault(this.address, name, error);
      const failure = packPlain(name, describeFailure(error));
      return (_resolve, fail) => fail(failureFrom(unpackValue(failure)));
    }
  }

  #accept(
    opener: MemoryEndpoint,
    name: string,
    header: Uint8Array,
    resolve: (stream: PeerStream) => void,
    isWaiting: () => boolean,
  ): void {
    const [near, far] = connectStream(opener, this, name);
    far.post(() => {
      // The opener gave up while its stream was accepted.
      if (!isWaiting()) near.stream.reset("the opener waits no more");
      else resolve(near.stream);
    });
    void this.#serveStream(opener, name, header, far);
  }

  async #serveStream(
    opener: MemoryEndpoint,
    name: string,
    header: Uint8Array,
    end: MemoryStreamEnd,
  ): Promise<void> {
    try {
      const from = { id: opener.id, address: opener.address };
      await this.#serving(name).stream(name, unpackValue(header), end.stream, from);
      end.stream.end();
      end.stream.reset("the handler ended");
    } catch (error) {
      const expected = isExpected(error) || error instanceof TransportError;
      if (!expected) this.network.onFault(this.address, name, error);
      end.stream.reset(error instanceof Error ? error.message : String(error));
    }
  }

  #serving(name: string): PeerHandlers {
    if (this.#handlers) return this.#handlers;
    throw new RingstowError("Unavailable", `Cannot answer "${name}": the node does not serve yet`);
  }
}

function packPlain(name: string, value: unknown): Uint8Array {
  return plainView(packBounded(name, value));
}
