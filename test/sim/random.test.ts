// Random schedules: the same 25 seeds in every run, and 5 new ones. A seed that fails is run again by
// `npm run sim -- --seed N --log`, and becomes a scenario with its story.
import { expect, test } from "vitest";
import { describePlan, simulate } from "./simulation.ts";

const fixed = Array.from({ length: 25 }, (_, i) => i + 1);
const first = Math.floor(Math.random() * 1_000_000_000);
const fresh = Array.from({ length: 5 }, (_, i) => first + i);

for (const seed of fixed) {
  test(`simulate keeps every promise with seed ${seed}`, () => check(seed));
}
for (const [i, seed] of fresh.entries()) {
  test(`simulate keeps every promise with fresh seed ${i + 1} of this run`, () => {
    console.log(`fresh seed ${seed}`);
    return check(seed);
  });
}

async function check(seed: number): Promise<void> {
  const report = await simulate({ seed });
  expect(report.violations, describePlan(report)).toEqual([]);
  expect(report.counts["get ok"], describePlan(report)).toBeGreaterThan(10);
}

test("simulate gives one seed one schedule, and another seed another one", async () => {
  for (const seed of [3, 18]) {
    const [once, again] = [await simulate({ seed }), await simulate({ seed })];
    expect(once.counts["messages"]).toBeGreaterThan(500);
    expect(again.trace).toBe(once.trace);
    expect(again.counts).toEqual(once.counts);
  }
  const traces = await Promise.all(
    [3, 4, 18].map(async (seed) => (await simulate({ seed })).trace),
  );
  expect(new Set(traces).size).toBe(3);
});
