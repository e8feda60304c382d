// What the simulated network does to messages: delay, loss, doubling, overtaking, records that fail their check, cut
// links (also one-way and non-transitive), slow nodes. All of it is drawn from one seeded source; directed tests add
// rules. Faults that last are counted, not set: two that overlap end one by one.
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
  /** Probability that a message is overtaken by what is sent in the ten delays after it. */
  reordering: number;
  /** Probability that a message is held up for up to `spikeMs`. */
  spikes: number;
  spikeMs: number;
  /** Probability that a message fails its check when it arrives, which breaks the connection. */
  corruption: number;
}

export const PERFECT: LinkQuality = {
  delayMs: 1,
  jitterMs: 0,
  loss: 0,
  duplication: 0,
  reordering: 0,
  spikes: 0,
  spikeMs: 0,
  corruption: 0,
};

/** A rule of a directed test: delays of this message's copies, or undefined to leave it to the next rule. */
export type Rule = (
  from: string,
  to: string,
  kind: MessageKind,
  name: string,
) => readonly number[] | undefined;

/** What happened to single messages. */
export type MessageFault = "lost" | "cut" | "doubled" | "overtaken" | "held up" | "corrupted";

/** Ends a fault; a second call does nothing. */
export type Undo = () => void;

export class NetworkConditions {
  quality: LinkQuality;
  /** Asked first, in order. */
  readonly rules: Rule[] = [];
  /** Messages handed to the network. */
  sent = 0;
  /** Faults of messages by kind. */
  readonly injected = new Map<MessageFault, number>();
  /** Told of a message that will arrive corrupted, `afterMs` from now. */
  onCorrupted: (from: string, to: string, afterMs: number) => void = () => {};
  /** How many faults cut each directed link, "from>to". */
  readonly #cuts = new Map<string, number>();
  readonly #slowMs = new Map<string, number>();
  readonly #corrupting = new Map<string, number>();
  readonly #chance: SeededChance;
  /** Faults that began before a heal() end no more. */
  #era = 0;

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
    if (this.#cuts.size > 0 && this.#cuts.has(`${from}>${to}`)) return this.#count("cut", []);
    if (this.#happens(quality.loss)) return this.#count("lost", []);
    const delays = [this.#delay(from, to)];
    if (this.#happens(this.#corruption(from, to))) {
      this.onCorrupted(from, to, delays[0]!);
      return this.#count("corrupted", []);
    }
    if (kind !== "stream" && this.#happens(quality.duplication)) {
      delays.push(this.#delay(from, to));
      this.#count("doubled", []);
    }
    return delays;
  };

  /** Cuts every link from one of `from` to one of `to`, in that direction only. */
  cutOneWay(from: readonly string[], to: readonly string[]): Undo {
    const links = from.flatMap((a) => to.filter((b) => b !== a).map((b) => `${a}>${b}`));
    return this.#during(
      () => links.forEach((link) => add(this.#cuts, link, 1)),
      () => links.forEach((link) => add(this.#cuts, link, -1)),
    );
  }

  /** Cuts both directions. */
  cut(a: readonly string[], b: readonly string[]): Undo {
    const [there, back] = [this.cutOneWay(a, b), this.cutOneWay(b, a)];
    return () => {
      there();
      back();
    };
  }

  /** Adds `extraMs` to every message from or to this address. */
  slow(address: string, extraMs: number): Undo {
    return this.#during(
      () => add(this.#slowMs, address, extraMs),
      () => add(this.#slowMs, address, -extraMs),
    );
  }

  /** Every message from or to this address fails its check with a probability. */
  corrupt(address: string, probability: number): Undo {
    return this.#during(
      () => add(this.#corrupting, address, probability),
      () => add(this.#corrupting, address, -probability),
    );
  }

  /** A network without any fault. */
  heal(): void {
    this.#era++;
    this.#cuts.clear();
    this.#slowMs.clear();
    this.#corrupting.clear();
    this.rules.length = 0;
    const { delayMs, jitterMs } = this.quality;
    this.quality = { ...PERFECT, delayMs, jitterMs };
  }

  #during(begin: () => void, end: () => void): Undo {
    const era = this.#era;
    let ended = false;
    begin();
    return () => {
      if (ended || this.#era !== era) return;
      ended = true;
      end();
    };
  }

  #happens(probability: number): boolean {
    return probability > 0 && this.#chance.happens(probability);
  }

  #corruption(from: string, to: string): number {
    if (this.#corrupting.size === 0) return this.quality.corruption;
    const more = (this.#corrupting.get(from) ?? 0) + (this.#corrupting.get(to) ?? 0);
    return this.quality.corruption + more;
  }

  #delay(from: string, to: string): number {
    const { quality } = this;
    const { delayMs, jitterMs } = quality;
    let delay = delayMs;
    if (jitterMs > 0) delay += jitterMs * this.#chance.fraction();
    if (this.#happens(quality.reordering)) {
      delay += 10 * (delayMs + jitterMs) * this.#chance.fraction();
      this.#count("overtaken", []);
    }
    if (this.#happens(quality.spikes)) {
      delay += quality.spikeMs * this.#chance.fraction();
      this.#count("held up", []);
    }
    if (this.#slowMs.size > 0) delay += (this.#slowMs.get(from) ?? 0) + (this.#slowMs.get(to) ?? 0);
    return delay;
  }

  #count(fault: MessageFault, delays: readonly number[]): readonly number[] {
    add(this.injected, fault, 1);
    return delays;
  }
}

/** Adds to a number of a map, which has no zeros. */
function add<K>(map: Map<K, number>, key: K, amount: number): void {
  const sum = (map.get(key) ?? 0) + amount;
  if (sum > 1e-9) map.set(key, sum);
  else map.delete(key);
}
