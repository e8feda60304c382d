import { describe, expect, test } from "vitest";
import { type NodeId, type RingId } from "../../../shared/ids.ts";
import { between, successorIndex } from "../../../shared/ring.ts";
import { fingersOf, nextHops } from "../../../node/route/fingers.ts";
import { SeededChance } from "../../sim/seeded-chance.ts";
import { randomId, RouteCluster } from "./route-cluster.ts";

async function ideal(size: number, routing: "table" | "fingers"): Promise<RouteCluster> {
  const cluster = new RouteCluster(size, { routing });
  await cluster.start(...cluster.nodes);
  await cluster.until(() => cluster.ringIsIdeal(), 10_000);
  return cluster;
}

const ownerOf = (cluster: RouteCluster, point: RingId): NodeId => {
  const ids = cluster.running.map((node) => node.id).toSorted();
  return ids[successorIndex(ids, point)]!;
};

describe("Route.lookup", () => {
  test("by table takes one hop, none at the owner itself", async () => {
    const cluster = await ideal(5, "table");
    const chance = new SeededChance(3);
    for (let i = 0; i < 50; i++) {
      const point = randomId(chance);
      const node = cluster.node(i % 5);
      const found = await cluster.clock.settle(node.route.lookup(point));
      const owner = ownerOf(cluster, point);
      expect(found.owner.id).toBe(owner);
      expect(found.hops).toBe(owner === node.id ? 0 : 1);
      expect(found.path).toEqual(owner === node.id ? [node.id] : [node.id, owner]);
    }
  });

  test("by fingers finds every owner on 64 nodes in about half of log2 64 hops (Stoica section 4.3)", async () => {
    const cluster = await ideal(64, "fingers");
    const chance = new SeededChance(4);
    const hops: number[] = [];
    for (let i = 0; i < 400; i++) {
      const point = randomId(chance);
      const found = await cluster.clock.settle(cluster.node(i % 64).route.lookup(point));
      expect(found.owner.id).toBe(ownerOf(cluster, point));
      expect(found.path).toHaveLength(found.hops + 1);
      hops.push(found.hops);
    }
    const mean = hops.reduce((sum, each) => sum + each, 0) / hops.length;
    expect(mean).toBeGreaterThan(1);
    expect(mean).toBeLessThan(3);
    expect(Math.max(...hops)).toBeLessThanOrEqual(6);
  }, 60_000);

  test.each(["table", "fingers"] as const)(
    "by %s passes over a dead owner at once",
    async (routing) => {
      const cluster = await ideal(9, routing);
      const dead = cluster.node(4);
      cluster.crash(dead);
      const start = cluster.clock.now;
      const found = await cluster.clock.settle(cluster.node(0).route.lookup(dead.id));
      expect(found.owner.id).toBe(cluster.node(5).id);
      expect(found.path).not.toContain(dead.id);
      expect(cluster.clock.now - start).toBeLessThan(100);
    },
  );

  test.each(["table", "fingers"] as const)("by %s stays right on small rings", async (routing) => {
    for (const size of [1, 2, 3]) {
      const cluster = new RouteCluster(size, { routing });
      await cluster.start(...cluster.nodes);
      await cluster.clock.runFor(3_000);
      const chance = new SeededChance(size);
      for (let i = 0; i < 20; i++) {
        const point = randomId(chance);
        const found = await cluster.clock.settle(cluster.node(i % size).route.lookup(point));
        expect(found.owner.id).toBe(ownerOf(cluster, point));
      }
    }
  });
});

test("fingersOf and nextHops lead ever nearer to the point and never past it", () => {
  const chance = new SeededChance(9);
  const ids = Array.from({ length: 200 }, () => randomId(chance)).toSorted();
  for (let i = 0; i < 200; i++) {
    const point = randomId(chance);
    const self = ids[i]!;
    const fingers = fingersOf(self, ids);
    expect(fingers.length).toBeLessThan(20);
    const successors = [...ids, ...ids].slice(i + 1, i + 3);
    const hops = nextHops(self, successors, fingers, point, 3);
    expect(hops.length).toBeGreaterThan(0);
    const owner = ids[successorIndex(ids, point)]!;
    if (owner !== self) expect(hops[0] === owner || between(self, hops[0]!, point)).toBe(true);
  }
});
