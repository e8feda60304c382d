import { describe, expect, test } from "vitest";
import { LocalHealth, suspicionMs } from "../../../node/route/local-health.ts";

const limits = { leastMs: 2_000, factor: 2.5, expectedMax: 3 };

describe("suspicionMs (Lifeguard section 4)", () => {
  test("begins at the longest and ends at the shortest, nearer with each confirmation", () => {
    const times = [0, 1, 2, 3, 4].map((confirmations) => suspicionMs(10, confirmations, limits));
    expect(times[0]).toBe(5_000);
    expect(times[1]).toBe(3_500);
    expect(times[2]).toBeGreaterThan(2_000);
    expect(times[2]).toBeLessThan(times[1]!);
    expect(times.slice(3)).toEqual([2_000, 2_000]);
  });

  test("grows with the logarithm of the members: news and refutation travel longer", () => {
    expect(suspicionMs(10_000, 3, limits)).toBe(8_000);
    expect(suspicionMs(10_000, 0, limits)).toBe(20_000);
    expect(suspicionMs(5, 3, limits)).toBe(2_000);
  });

  test("waits for no confirmation where nobody is left to give it", () => {
    expect(suspicionMs(2, 0, limits)).toBe(2_000);
    // Two others: one suspects, one can confirm.
    expect(suspicionMs(3, 0, limits)).toBe(5_000);
    expect(suspicionMs(3, 1, limits)).toBe(2_000);
  });
});

test("LocalHealth stays between 1 and 4 times the usual waits", () => {
  const health = new LocalHealth();
  expect(health.factor).toBe(1);
  health.improve();
  expect(health.factor).toBe(1);
  health.worsen(2);
  expect(health.factor).toBe(3);
  health.worsen(9);
  expect(health.factor).toBe(4);
  health.improve();
  expect(health.factor).toBe(3);
});
