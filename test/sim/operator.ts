// An operator of the simulated cluster: calls nodes over the network as the `ringstow` command does, and remembers what
// he asked for and what he was told.
import { Peers } from "../../node/peers.ts";
import { type MemoryNetwork } from "../../node/runtime/memory-network.ts";
import { type Copies, type CopiesSetting, isLater } from "../../shared/copies.ts";
import { parseRequestId, toHex } from "../../shared/ids.ts";
import { type SeededChance } from "./seeded-chance.ts";

const callTimeoutMs = 25_000; // longer than a node tries

export class Operator {
  /** Numbers of copies that were asked for, in vain or not. */
  readonly asked: Copies[] = [];
  /** The latest setting that was acknowledged. */
  acknowledged: CopiesSetting | undefined;
  readonly #network: MemoryNetwork;
  readonly #chance: SeededChance;
  #peers: Peers | undefined;

  constructor(network: MemoryNetwork, chance: SeededChance) {
    this.#network = network;
    this.#chance = chance;
  }

  /** Asks one node once. Rejects with TransportError or RingstowError; then it may be decided all the same. */
  async setCopies(address: string, copies: Copies): Promise<CopiesSetting> {
    this.#peers ??= new Peers(this.#network.attach("operator", undefined));
    this.asked.push(copies);
    const request = { copies, requestId: parseRequestId(toHex(this.#chance.bytes(16))) };
    const call = this.#peers.call({ address }, "node.copies", request, callTimeoutMs);
    const { setting } = await call;
    if (!this.acknowledged || isLater(setting, this.acknowledged)) this.acknowledged = setting;
    return setting;
  }
}
