// Headers of a request as the gateway reads them. A platform's Headers will do; where the lines are known as they came,
// a map made of them costs a fraction of that.

/** Names in lower case; repeated lines are joined by ", ". */
export interface RequestHeaders {
  get(name: string): string | null;
  has(name: string): boolean;
  keys(): Iterable<string>;
  [Symbol.iterator](): Iterator<[name: string, value: string]>;
}

/** Of header lines, name and value by turns. */
export class LineHeaders implements RequestHeaders {
  readonly #values = new Map<string, string>();

  constructor(lines: readonly string[]) {
    for (let i = 0; i + 1 < lines.length; i += 2) {
      const name = lines[i]!.toLowerCase();
      const before = this.#values.get(name);
      this.#values.set(name, before === undefined ? lines[i + 1]! : `${before}, ${lines[i + 1]!}`);
    }
  }

  get(name: string): string | null {
    return this.#values.get(name) ?? null;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  keys(): Iterable<string> {
    return this.#values.keys();
  }

  [Symbol.iterator](): Iterator<[string, string]> {
    return this.#values[Symbol.iterator]();
  }
}
