// Random order (Fisher and Yates) from the Chance port.
import { type Chance } from "../ports.ts";

/** The items in random order; the input stays as it is. */
export function shuffled<T>(items: readonly T[], chance: Chance): T[] {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const other = Math.floor(chance.fraction() * (last + 1));
    [result[last], result[other]] = [result[other]!, result[last]!];
  }
  return result;
}
