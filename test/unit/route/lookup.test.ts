import { describe, expect, test } from "vitest";
import { type FolderId, type NodeId, type RingId } from "../../../shared/ids.ts";
import { callTimeoutMs } from "../../../shared/limits.ts";
import { between, successorIndex } from "../../../shared/ring.ts";
import { fingersOf, nextHops } from "../../../node/route/fingers.ts";
import { rowToWire } from "../../../node/route/member-wire.ts";
import { type MemberRow } from "../../../node/route/table-part.ts";
import { SeededChance } from "../../sim/seeded-chance.ts";
import { randomId, RouteCluster, type TestNode } from "./route-cluster.ts";

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

  test.each(["table", "fingers"] as const)(
    "by %s goes past an owner that swallows what it is sent after 300 ms",
    async (routing) => {
      const cluster = await ideal(9, routing);
      const silent = cluster.node(4);
      cluster.onMessage = ({ to }) => (to === silent.name ? [] : undefined);
      const start = cluster.clock.now;
      const found = await cluster.clock.settle(cluster.node(0).route.lookup(silent.id));
      expect(found.owner.id).toBe(cluster.node(5).id);
      expect(cluster.clock.now - start).toBeGreaterThanOrEqual(callTimeoutMs);
      expect(cluster.clock.now - start).toBeLessThan(callTimeoutMs + 50);
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

/** A node dies, and one other is told so at once; the rest would find out with their next probe of it. */
async function deadOnlyFor(cluster: RouteCluster, dead: TestNode, knows: TestNode): Promise<void> {
  const row = knows.route.find(dead.id) as MemberRow;
  cluster.crash(dead);
  const teller = cluster.running.find((node) => node !== knows)!;
  const told = { rows: [rowToWire({ ...row, state: "dead" })] };
  const peer = { id: knows.id, address: knows.name };
  await cluster.clock.settle(teller.peers.call(peer, "route.tell", told, 1_000));
  await cluster.until(() => cluster.stateOf(dead, knows) === "dead", 100);
}

describe("Route.lookup where tables differ", () => {
  test("asks a node again that named only nodes which turned out silent", async () => {
    const cluster = await ideal(6, "table");
    const [asker, owner] = [cluster.node(0), cluster.node(4)];
    const dead = cluster.node(3);
    // The asker knows of the death, the new owner does not: it names the dead node.
    await deadOnlyFor(cluster, dead, asker);
    expect(cluster.stateOf(dead, owner)).toBe("alive");
    const found = await cluster.clock.settle(asker.route.lookup(dead.id));
    expect(found.owner.id).toBe(owner.id);
    expect(found.path.filter((id) => id === owner.id)).toHaveLength(2);
    expect(found.hops).toBeLessThan(6);
  });

  test("finds an owner that the asking node has not heard of", async () => {
    const cluster = await ideal(5, "table");
    const asker = cluster.node(2);
    const id = "f".repeat(32) as NodeId;
    const joiner = cluster.add("n5", id, "00000000000000aa" as FolderId, ["n3"]);
    cluster.onMessage = ({ from, to, name }) =>
      (from === asker.name || to === asker.name) && name !== "route.next" ? [] : undefined;
    await cluster.start(joiner);
    await cluster.until(() => cluster.stateOf(joiner, cluster.node(0)) === "alive", 1_000);
    cluster.onMessage = () => undefined;
    expect(asker.route.find(id)).toBeUndefined();
    const found = await cluster.clock.settle(asker.route.lookup(id));
    expect(found).toMatchObject({ owner: { id, peerAddress: "n5" }, hops: 2 });
  });

  test("by fingers: a node that is not responsible names the one before it", async () => {
    const cluster = await ideal(10, "fingers");
    const dead = cluster.node(8);
    const [knows, owner] = [cluster.node(7), cluster.node(9)];
    await deadOnlyFor(cluster, dead, knows);
    await cluster.until(() => knows.route.ring().successors[0] === owner.id, 500);
    expect(cluster.stateOf(dead, owner)).toBe("alive");
    const found = await cluster.clock.settle(knows.route.lookup(dead.id));
    expect(found.owner.id).toBe(owner.id);
    expect(found.path.length).toBeLessThan(5);
  });
});

test("fingersOf and nextHops lead ever nearer to the point and never past it", () => {
  const chance = new SeededChance(9);
  const ids = Array.from({ length: 200 }, () => randomId(chance)).toSorted();
  for (let i = 0; i < 200; i++) {
    const point = randomId(chance);
    const self = ids[i]!;
    const fingers = fingersOf(self, (at) => ids[successorIndex(ids, at)]!);
    expect(fingers.length).toBeLessThan(20);
    const successors = [...ids, ...ids].slice(i + 1, i + 3);
    const hops = nextHops(self, successors, fingers, point, 3);
    expect(hops.length).toBeGreaterThan(0);
    const owner = ids[successorIndex(ids, point)]!;
    if (owner !== self) expect(hops[0] === owner || between(self, hops[0]!, point)).toBe(true);
  }
});
