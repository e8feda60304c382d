// The network of tests and of the simulator: the Transport port in memory over an injected clock. A policy says how
// long each message takes, whether it is lost or doubled; nothing else decides, so one seed is one schedule.
// As on the wire a message belongs to one connection: it never reaches a later process of the address that it was sent
// to. Else a copy of a request that had no effect could be carried out by a process that never heard of the first.
import { assert } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import { type Clock, type Transport } from "../ports.ts";
import { MemoryEndpoint } from "./memory-endpoint.ts";

export type MessageKind = "request" | "reply" | "stream";

/**
 * Delays in ms of the copies of one message from one address to another: [] is lost, two are a doubled message.
 * `name` is the call's or the stream's. Of a stream only the first delay counts, its order is kept, and a lost
 * message breaks it.
 */
export type Policy = (
  from: string,
  to: string,
  kind: MessageKind,
  name: string,
) => readonly number[];

/** Hears what a handler threw that was no RingstowError: a fault, which the caller sees as Internal. */
export type FaultListener = (address: string, name: string, error: unknown) => void;

const AT_ONCE = [0] as const;

export class MemoryNetwork {
  readonly clock: Clock;
  readonly policy: Policy;
  readonly onFault: FaultListener;
  readonly #endpoints = new Map<string, MemoryEndpoint>();
  /** How often the link of two addresses broke; both ways round. */
  readonly #breaks = new Map<string, Map<string, number>>();

  constructor(clock: Clock, policy: Policy = () => AT_ONCE, onFault: FaultListener = () => {}) {
    this.clock = clock;
    this.policy = policy;
    this.onFault = onFault;
  }

  /**
   * The transport of a node at `address`; one that has no id yet can call and is not known by any. An address can be
   * attached again after close() or crash().
   */
  attach(address: string, id: NodeId | undefined): Transport {
    assert(!this.#endpoints.has(address), `address "${address}" is free`);
    const endpoint = new MemoryEndpoint(this, address, id);
    this.#endpoints.set(address, endpoint);
    return endpoint;
  }

  /**
   * Power off: nothing that the node awaits from its transport ever settles, what it sends from now on is dropped,
   * its streams break for the others. What it had sent before is still delivered.
   */
  crash(address: string): void {
    const endpoint = this.#endpoints.get(address);
    assert(endpoint, `address "${address}" is attached`);
    endpoint.crash();
  }

  /**
   * The connection of two nodes breaks, as a record that fails its check breaks it: what is on its way is lost, calls
   * and streams over it fail at both ends at once. The next call finds a new connection.
   */
  breakLink(a: string, b: string): void {
    const age = this.linkAge(a, b) + 1;
    this.#breaksOf(a).set(b, age);
    this.#breaksOf(b).set(a, age);
    this.#endpoints.get(a)?.failLink(b);
    this.#endpoints.get(b)?.failLink(a);
  }

  /** Tells one connection of two nodes from the next. */
  linkAge(a: string, b: string): number {
    return this.#breaks.get(a)?.get(b) ?? 0;
  }

  /** Who answers at an address now. */
  find(address: string): MemoryEndpoint | undefined {
    return this.#endpoints.get(address);
  }

  detach(endpoint: MemoryEndpoint): void {
    if (this.#endpoints.get(endpoint.address) === endpoint)
      this.#endpoints.delete(endpoint.address);
  }

  #breaksOf(address: string): Map<string, number> {
    const known = this.#breaks.get(address) ?? new Map<string, number>();
    this.#breaks.set(address, known);
    return known;
  }
}
