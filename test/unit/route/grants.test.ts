import { describe, expect, test } from "vitest";
import { type FolderId } from "../../../shared/ids.ts";
import { requestGrant } from "../../../node/route/grants.ts";
import { RouteCluster } from "./route-cluster.ts";

const folder = (number: number) => number.toString(16).padStart(16, "0") as FolderId;

async function cluster(size: number): Promise<RouteCluster> {
  const made = new RouteCluster(size);
  await made.start(...made.nodes);
  await made.clock.runFor(2_000);
  return made;
}

describe("requestGrant", () => {
  test("spreads many pending grants evenly, whichever seed is asked", async () => {
    const nodes = await cluster(3);
    const ids: string[] = nodes.nodes.map((node) => node.id);
    for (let number = 0; number < 9; number++) {
      const seed = `n${number % 3}`;
      ids.push(
        await nodes.clock.settle(requestGrant(nodes.node(0).peers, [seed], folder(100 + number))),
      );
    }
    expect(new Set(ids).size).toBe(12);
    const tops = ids
      .map((id) => Number.parseInt(id.slice(0, 6), 16) / 2 ** 24)
      .toSorted((a, b) => a - b);
    const gaps = tops.map((top, i) => (i === 0 ? top + 1 - tops.at(-1)! : top - tops[i - 1]!));
    // 12 points made by halving thirds: the ideal is 1/12, halving gives between 1/24 and 1/6.
    expect(Math.max(...gaps)).toBeLessThanOrEqual(1 / 6 + 0.001);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(1 / 24 - 0.001);
  });

  test("passes over a seed and an owner that do not answer", async () => {
    const nodes = await cluster(5);
    const owner = nodes.node(0);
    nodes.partition([owner], nodes.nodes.slice(1));
    const asking = nodes.node(2).peers;
    const id = await nodes.clock.settle(requestGrant(asking, ["nowhere", "n3"], folder(100)));
    expect(id).toMatch(/^[0-9a-f]{32}$/u);
  });

  test("fails with Unavailable when no seed answers", async () => {
    const nodes = await cluster(1);
    const asked = nodes.clock.settle(requestGrant(nodes.node(0).peers, ["nowhere"], folder(1)));
    await expect(asked).rejects.toMatchObject({ code: "Unavailable" });
  });
});
