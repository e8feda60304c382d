// Settled registers that this node's leaders keep ready, the latest used last: one bound for the node, however many
// slices it leads. A register that was dropped is read from the members again; that costs a round, no more.
import { settledBytesMax } from "../../shared/limits.ts";
import { type Touched } from "./touched.ts";

const OVERHEAD_BYTES = 500; // of an entry besides its text, which is there decoded as well

export class SettledCache {
  readonly #bytesMax: number;
  readonly #entries = new Map<string, { readonly touched: Touched; readonly bytes: number }>();
  #bytes = 0;
  #leaders = 0;

  constructor(bytesMax = settledBytesMax) {
    this.#bytesMax = bytesMax;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** A leader's own part. What a leader leaves behind when it is over is never found again, and ages out. */
  part(): SettledPart {
    return new SettledPart(this, `${++this.#leaders}/`);
  }

  get(name: string): Touched | undefined {
    const entry = this.#entries.get(name);
    if (!entry) return undefined;
    this.#entries.delete(name);
    this.#entries.set(name, entry);
    return entry.touched;
  }

  set(name: string, touched: Touched): void {
    this.delete(name);
    const bytes = 3 * touched.text.length + name.length + OVERHEAD_BYTES;
    this.#entries.set(name, { touched, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#bytesMax) return;
      this.delete(oldest);
    }
  }

  delete(name: string): void {
    const entry = this.#entries.get(name);
    if (!entry) return;
    this.#entries.delete(name);
    this.#bytes -= entry.bytes;
  }
}

/** The registers of one leader in the node's cache. */
export class SettledPart {
  readonly #cache: SettledCache;
  readonly #prefix: string;

  constructor(cache: SettledCache, prefix: string) {
    this.#cache = cache;
    this.#prefix = prefix;
  }

  get(key: string): Touched | undefined {
    return this.#cache.get(this.#prefix + key);
  }

  set(key: string, touched: Touched): void {
    this.#cache.set(this.#prefix + key, touched);
  }

  delete(key: string): void {
    this.#cache.delete(this.#prefix + key);
  }
}
