// Tests of the simulator itself: it accepts a perfect store under all faults, finds each planted defect, and does the
// same for the same seed wherever it runs.
import { expect, test } from "vitest";
import { type Defect, fakeStore } from "./fake-store.ts";
import { activeKinds, drawPlan, type Overrides } from "./plan.ts";
import { runSeeds } from "./run-seeds.ts";
import { type SeedResult } from "./seed-result.ts";
import { flagsOf, shrink } from "./shrink.ts";
import { simulate } from "./simulation.ts";

test("simulate accepts a perfect store under all faults", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const report = await simulate({ seed, build: fakeStore("none") });
    expect(report.violations, `seed ${seed}`).toEqual([]);
    expect(report.counts.outcomes["put ok"], `seed ${seed}`).toBeGreaterThan(5);
  }
});

const defects: Defect[] = ["stale reads", "no request ids", "late writes", "short lists"];
for (const defect of defects) {
  test(`simulate finds a store with ${defect}`, async () => {
    const found: number[] = [];
    for (let seed = 1; seed <= 15; seed++) {
      const report = await simulate({ seed, build: fakeStore(defect) });
      if (report.violations.length > 0) found.push(seed);
    }
    expect(found).not.toEqual([]);
  });
}

// All kinds of faults at once, on clusters of several sizes.
const traced: readonly Overrides[] = [3, 5, 9, 15].map((nodes) => ({
  nodes,
  allFaults: true,
  ticksMs: 4_000,
}));

test("simulate gives one seed one schedule: twice in a row, and in another process", async () => {
  let kinds = 0;
  for (const [i, overrides] of traced.entries()) {
    const seed = 100 + i;
    const [once, again] = [
      await simulate({ seed, overrides }),
      await simulate({ seed, overrides }),
    ];
    const inOther: SeedResult[] = [];
    // Two jobs: else the seed would run in this process.
    await runSeeds({
      overrides,
      jobs: 2,
      log: false,
      seeds: [seed].values(),
      onResult: (result) => inOther.push(result) > 0,
    });
    expect(once.violations, `seed ${seed}`).toEqual([]);
    expect(once.counts.messages, `seed ${seed}`).toBeGreaterThan(500);
    kinds += Object.keys(once.counts.faults).length;
    for (const { trace, counts } of [again, ...inOther]) {
      expect(trace, `seed ${seed}`).toBe(once.trace);
      expect(counts, `seed ${seed}`).toEqual(once.counts);
    }
    expect(inOther).toHaveLength(1);
  }
  expect(kinds).toBeGreaterThan(20);
});

test("drawPlan leaves everything else as drawn when one thing is replaced", () => {
  for (let seed = 1; seed <= 50; seed++) {
    const drawn = drawPlan(seed);
    const { nodes, ...others } = drawPlan(seed, { nodes: 5 });
    expect(nodes).toBe(5);
    expect(others.quality).toEqual(drawn.quality);
    expect(others.workload).toEqual(drawn.workload);
    expect(others.syncMs).toBe(drawn.syncMs);
    const calm = drawPlan(seed, { calmNetwork: true, faults: [] });
    expect(calm.quality.delayMs).toBe(drawn.quality.delayMs);
    expect([calm.quality.loss, activeKinds(calm.faults)]).toEqual([0, []]);
    const ranged = drawPlan(seed, { nodesMin: 5, nodesMax: 15 }).nodes;
    expect(ranged).toBeGreaterThanOrEqual(5);
    expect(ranged).toBeLessThanOrEqual(15);
  }
});

test("shrink keeps what a failure needs and drops the rest", async () => {
  const seed = 2;
  const needs = (faults: Overrides["faults"]): boolean =>
    Array.isArray(faults) && faults.includes("isolate");
  let tries = 0;
  const smallest = await shrink(seed, { nodes: 9, allFaults: true }, async (overrides) => {
    tries++;
    const plan = drawPlan(seed, overrides);
    return needs(overrides.faults) && plan.nodes >= 4 && plan.workload.operations >= 20;
  });
  const plan = drawPlan(seed, smallest);
  expect(smallest.faults).toEqual(["isolate"]);
  expect(plan.nodes).toBe(4);
  expect(plan.workload.operations).toBeLessThan(25);
  expect([plan.workload.clients, plan.workload.keys, plan.workload.logs]).toEqual([1, 1, 0]);
  expect(plan.quality.loss).toBe(0);
  expect(tries).toBeLessThan(100);
  expect(flagsOf(seed, smallest)).toMatch(/--faults "isolate" --all-faults --calm-network/u);
});
