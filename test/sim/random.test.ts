// Random schedules: the same seeds in every run, plain ones and ones of larger clusters with every kind of fault, and a
// few new ones. A seed that fails is run again by `npm run sim -- --seed N --log`, made smaller by `--shrink`, and
// becomes a scenario with its story.
import { expect, test } from "vitest";
import { describePlan, type Overrides } from "./plan.ts";
import { simulate } from "./simulation.ts";

const fixed = Array.from({ length: 25 }, (_, i) => i + 1);
const first = Math.floor(Math.random() * 1_000_000_000);
const fresh = Array.from({ length: 3 }, (_, i) => first + i);
const everything: Overrides = { nodesMin: 5, nodesMax: 15, allFaults: true };

for (const seed of fixed) {
  test(`simulate keeps every promise with seed ${seed}`, () => check(seed));
}
for (const seed of fixed.slice(0, 10)) {
  test(`simulate keeps every promise with 5 to 15 nodes and all faults, seed ${seed}`, () =>
    check(seed, everything));
}
// Seeds that failed once. Schedules change with the code: what they found stands in scenarios, these run besides.
const failedOnce = [
  500159, 700206, 700459, 700572, 1000309, 2000063, 2000872, 6000691, 6000882, 6001004, 7100024,
  30001132, 30004656, 30005768, 30000483,
];
for (const seed of failedOnce) {
  test(`simulate keeps every promise with 5 to 15 nodes and all faults, seed ${seed}, which did not once`, () =>
    check(seed, everything));
}
for (const seed of [983287270, 700000030, 700000440, 740004883]) {
  test(`simulate keeps every promise with seed ${seed}, which did not once`, () => check(seed));
}
for (const [i, seed] of fresh.entries()) {
  test(`simulate keeps every promise with fresh seed ${i + 1} of this run`, async () => {
    console.log(`fresh seed ${seed}`);
    await check(seed);
    await check(seed, everything);
  });
}

async function check(seed: number, overrides: Overrides = {}): Promise<void> {
  const { violations, counts, plan } = await simulate({ seed, overrides });
  expect(violations, describePlan(seed, plan)).toEqual([]);
  expect(counts.outcomes["get ok"], describePlan(seed, plan)).toBeGreaterThan(5);
}

test("simulate gives another seed another schedule", async () => {
  const seeds = [3, 4, 18];
  const traces = await Promise.all(seeds.map(async (seed) => (await simulate({ seed })).trace));
  expect(new Set(traces).size).toBe(seeds.length);
});
