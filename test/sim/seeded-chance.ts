// Random numbers from a seed: sfc32 (Chris Doty-Humphrey's small fast counter, 128 bits of state), seeded through
// splitmix32. Forks by name are independent of how much the parent has drawn, so a new consumer of randomness in
// one place does not change the schedule of another.
import { type Chance } from "../../node/ports.ts";

/** FNV-1a, to turn a name into 32 bits. */
function hashName(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  }
  return hash >>> 0;
}

export class SeededChance implements Chance {
  readonly #seed: number;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#seed = seed >>> 0;
    let state = this.#seed;
    const next = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let z = state ^ (state >>> 16);
      z = Math.imul(z, 0x21f0aaad);
      z ^= z >>> 15;
      z = Math.imul(z, 0x735a2d97);
      return (z ^ (z >>> 15)) | 0;
    };
    this.#a = next();
    this.#b = next();
    this.#c = next();
    for (let i = 0; i < 12; i++) this.uint32();
  }

  /** Uniform in 0 .. 2^32 - 1. */
  uint32(): number {
    const t = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + t) | 0;
    return t >>> 0;
  }

  fraction(): number {
    return this.uint32() / 0x1_0000_0000;
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let i = 0; i < count; i += 4) {
      const word = this.uint32();
      for (let j = i; j < Math.min(count, i + 4); j++) bytes[j] = (word >>> (8 * (j - i))) & 0xff;
    }
    return bytes;
  }

  /** A source of its own for `name`; the same name gives the same source again. */
  fork(name: string): SeededChance {
    return new SeededChance(
      Math.imul(this.#seed ^ hashName(name), 0x9e3779b1) ^ hashName(`${name}/`),
    );
  }

  /** Uniform integer in 0 .. bound - 1. */
  below(bound: number): number {
    return Math.floor(this.fraction() * bound);
  }

  /** Uniform in low <= x < high. */
  range(low: number, high: number): number {
    return low + this.fraction() * (high - low);
  }

  /** True with the given probability. */
  happens(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** The items in random order. */
  shuffle<T>(items: readonly T[]): T[] {
    const shuffled = [...items];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!];
    }
    return shuffled;
  }
}
