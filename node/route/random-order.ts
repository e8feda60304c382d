// Random choice without repeats, drawn as it is needed: a node of a large cluster wants one member, or the next one,
// not a shuffled copy of its table.
import { type Chance } from "../ports.ts";

/** The numbers 0 .. count - 1 in random order (Fisher and Yates; only places that were swapped are remembered). */
export function* randomOrder(count: number, chance: Chance): Generator<number, undefined> {
  const moved = new Map<number, number>();
  for (let last = count - 1; last >= 0; last--) {
    const at = Math.floor(chance.fraction() * (last + 1));
    const drawn = moved.get(at) ?? at;
    moved.set(at, moved.get(last) ?? last);
    moved.delete(last);
    yield drawn;
  }
}

/** Up to `most` items in random order. */
export function randomSome<T>(items: readonly T[], most: number, chance: Chance): T[] {
  const order = randomOrder(items.length, chance);
  return Array.from(order.take(most), (index) => items[index]!);
}
