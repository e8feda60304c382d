// What the simulated network does to messages: delay, loss, doubling, reordering by random delays, cut links (also
// one-way and non-transitive), slow nodes. All of it is drawn from one seeded source; directed tests add rules.
import { type MessageKind, type Policy } from "../../node/runtime/memory-network.ts";
import { type SeededChance } from "./seeded-chance.ts";

export interface LinkQuality {
  /** Shortest delay of a message. */
  delayMs: number;
  /** Added at random, evenly; makes messages overtake each other. */
  jitterMs: number;
  /** Probability that a message is lost. */
  loss: number;
  /** Probability that a message arrives twice. */
  duplication: number;
  /** Probability that a message is held up for up to `spikeMs`. */
  spikes: number;
  spikeMs: number;
}

export const PERFECT: LinkQuality = {
  delayMs: 1,
  jitterMs: 0,
  loss: 0,
  duplication: 0,
  spikes: 0,
  spikeMs: 0,
};

/** A rule of a directed test: delays of this message's copies, or undefined to leave it to the next rule. */
export type Rule = (
  from: string,
  to: string,
  kind: MessageKind,
  name: string,
) => readonly number[] | undefined;

export class NetworkConditions {
  quality: LinkQuality;
  /** Asked first, in order. */
  readonly rules: Rule[] = [];
  /** Messages handed to the network. */
  sent = 0;
  readonly #cuts = new Set<string>();
  readonly #slowMs = new Map<string, number>();
  readonly #chance: SeededChance;

  constructor(quality: LinkQuality, chance: SeededChance) {
    this.quality = quality;
    this.#chance = chance;
  }

  readonly policy: Policy = (from, to, kind, name) => {
    this.sent++;
    for (const rule of this.rules) {
      const delays = rule(from, to, kind, name);
      if (delays) return delays;
    }
    const { quality } = this;
    if (this.#cuts.has(`${from}>${to}`)) return [];
    if (quality.loss > 0 && this.#chance.happens(quality.loss)) return [];
    const delays = [this.#delay(from, to)];
    if (quality.duplication > 0 && kind !== "stream" && this.#chance.happens(quality.duplication))
      delays.push(this.#delay(from, to));
    return delays;
  };

  /** Cuts every link from one of `from` to one of `to`, in that direction only. */
  cutOneWay(from: readonly string[], to: readonly string[]): void {
    for (const a of from) for (const b of to) if (a !== b) this.#cuts.add(`${a}>${b}`);
  }

  /** Cuts both directions. */
  cut(a: readonly string[], b: readonly string[]): void {
    this.cutOneWay(a, b);
    this.cutOneWay(b, a);
  }

  /** Adds `extraMs` to every message from or to this address; 0 ends it. */
  slow(address: string, extraMs: number): void {
    if (extraMs > 0) this.#slowMs.set(address, extraMs);
    else this.#slowMs.delete(address);
  }

  /** All links whole again; the quality stays. */
  mendLinks(): void {
    this.#cuts.clear();
  }

  /** A network without any fault. */
  heal(): void {
    this.#cuts.clear();
    this.#slowMs.clear();
    this.rules.length = 0;
    this.quality = { ...this.quality, loss: 0, duplication: 0, spikes: 0 };
  }

  #delay(from: string, to: string): number {
    const { quality } = this;
    let delay = quality.delayMs;
    if (quality.jitterMs > 0) delay += quality.jitterMs * this.#chance.fraction();
    if (quality.spikes > 0 && this.#chance.happens(quality.spikes))
      delay += quality.spikeMs * this.#chance.fraction();
    if (this.#slowMs.size > 0) delay += (this.#slowMs.get(from) ?? 0) + (this.#slowMs.get(to) ?? 0);
    return delay;
  }
}
