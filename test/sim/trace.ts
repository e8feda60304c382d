// A running hash of what was delivered when, to whom: equal traces mean equal schedules.

export class Trace {
  /** Messages hashed so far. */
  messages = 0;
  readonly #counts = new Map<string, number>();
  #a = 0x811c9dc5;
  #b = 0x9747b28c;

  /** Adds one delivery. */
  add(atMs: number, from: string, to: string, name: string): void {
    this.messages++;
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
    this.#mix(`${atMs}|${from}|${to}|${name};`);
  }

  /** Deliveries of one name. */
  count(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  /** Deliveries by name. */
  counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /** 16 hex digits. */
  digest(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
    return hex(this.#a) + hex(this.#b);
  }

  #mix(text: string): void {
    let [a, b] = [this.#a, this.#b];
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      a = Math.imul(a ^ code, 0x01000193);
      b = Math.imul(b ^ code, 0x85ebca6b) ^ (b >>> 13);
    }
    [this.#a, this.#b] = [a, b];
  }
}
