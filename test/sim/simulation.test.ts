// Tests of the simulator itself: it accepts a perfect store under all faults, and finds each planted defect.
import { expect, test } from "vitest";
import { type Defect, fakeStore } from "./fake-store.ts";
import { simulate } from "./simulation.ts";

test("simulate accepts a perfect store under all faults", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const report = await simulate({ seed, build: fakeStore("none") });
    expect(report.violations, `seed ${seed}`).toEqual([]);
    expect(report.counts["put ok"], `seed ${seed}`).toBeGreaterThan(5);
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
