// The small form of `npm run sim:ring`: the bounds that the large rings are measured against, on 100 and 300 nodes.
import { describe, expect, test } from "vitest";
import {
  measureChurn,
  measureCrash,
  measureHops,
  measureJoin,
  measureQuiet,
} from "./ring-measures.ts";
import { ScaleRing } from "./ring-scale.ts";

describe("rings of many nodes", () => {
  test.each([100, 300])(
    "finger lookups on %i nodes take 1/2 log2 N - 1/2 log2 r + 1 hops, within 10 %",
    async (nodes) => {
      const ring = new ScaleRing({ nodes, seed: 2, routing: "fingers" });
      expect(ring.r).toBe(16);
      const { mean, p99, expected } = await measureHops(ring, 1_500);
      expect(Math.abs(mean / expected - 1)).toBeLessThan(0.1);
      expect(p99).toBeLessThanOrEqual(Math.ceil(expected) + 3);
    },
  );

  test("a quiet node sends less than 150 bytes a second, and no news", async () => {
    const ring = new ScaleRing({ nodes: 100, seed: 3 });
    await ring.start();
    const { pings, compare, ring: chord, news } = await measureQuiet(ring, 20_000);
    expect(news).toBe(0);
    expect(pings).toBeGreaterThan(60);
    expect(pings).toBeLessThan(96);
    expect(compare).toBeLessThan(5);
    expect(chord).toBeLessThan(45);
    expect(ring.faults).toEqual([]);
  });

  test("news of a join and of a crash reach 300 nodes in seconds, for about 2 KB a node", async () => {
    const ring = new ScaleRing({ nodes: 300, seed: 4 });
    await ring.start();
    const join = await measureJoin(ring);
    expect(join.allS).toBeLessThan(10);
    const crash = await measureCrash(ring);
    expect(crash.allS).toBeLessThan(30);
    expect(join.newsBytes + crash.newsBytes).toBeLessThan(2_600);
    // At sessions of 30 days.
    expect((join.staleS + crash.staleS) / (30 * 86_400)).toBeLessThan(0.0001);
    expect(ring.faults).toEqual([]);
  });

  test.each(["table", "fingers"] as const)(
    "lookups by %s under heavy churn all end, at a node that is there",
    async (routing) => {
      const ring = new ScaleRing({ nodes: 100, seed: 5, routing });
      await ring.start();
      const churn = await measureChurn(ring, {
        sessionMs: 300_000,
        durationMs: 30_000,
        perSecond: 40,
      });
      expect(churn.events).toBeGreaterThan(15);
      expect(churn.lookups).toBeGreaterThan(1_000);
      expect(churn.failed).toBe(0);
      expect(churn.wrong).toBeLessThan(0.01 * churn.lookups);
      if (routing === "table") expect(churn.oneHop).toBeGreaterThan(0.9 * churn.lookups);
      expect(ring.faults).toEqual([]);
    },
  );
});
