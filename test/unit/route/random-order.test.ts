import * as fc from "fast-check";
import { expect, test } from "vitest";
import { randomOrder, randomSome } from "../../../node/route/random-order.ts";
import { SeededChance } from "../../sim/seeded-chance.ts";

test("randomOrder draws every number once", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 60 }), fc.integer(), (count, seed) => {
      const drawn = [...randomOrder(count, new SeededChance(seed))];
      expect(drawn.toSorted((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
    }),
  );
});

test("randomOrder puts every number in every place about equally often", () => {
  const chance = new SeededChance(3);
  const times = Array.from({ length: 4 }, () => [0, 0, 0, 0]);
  for (let round = 0; round < 8_000; round++)
    for (const [place, number] of [...randomOrder(4, chance)].entries()) times[place]![number]!++;
  for (const each of times.flat()) expect(Math.abs(each - 2_000)).toBeLessThan(200);
});

test("randomSome takes no more than there is and leaves the items as they are", () => {
  const items = ["a", "b", "c"];
  expect(randomSome(items, 9, new SeededChance(1)).toSorted()).toEqual(items);
  expect(randomSome(items, 2, new SeededChance(1))).toHaveLength(2);
  expect(items).toEqual(["a", "b", "c"]);
});
