// One piece of work at a time on each key, in the order of arrival.
import { RingstowError } from "../../shared/errors.ts";

export class Turns<K> {
  readonly #most: number;
  readonly #lines = new Map<K, { tail: Promise<unknown>; length: number }>();

  /** @param most that may wait on one key; more are refused with SlowDown */
  constructor(most: number) {
    this.#most = most;
  }

  async take<T>(key: K, work: () => Promise<T>): Promise<T> {
    const line = this.#lines.get(key) ?? { tail: Promise.resolve(), length: 0 };
    if (line.length >= this.#most)
      throw new RingstowError("SlowDown", "Too many operations wait on one name");
    this.#lines.set(key, line);
    line.length++;
    const turn = line.tail.then(work, work);
    line.tail = turn;
    try {
      return await turn;
    } finally {
      line.length--;
      if (line.length === 0 && this.#lines.get(key) === line) this.#lines.delete(key);
    }
  }
}
