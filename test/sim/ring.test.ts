// Ring scenarios of the protocol's section 7 on real route modules over messages: the invariants are checked every
// 25 virtual ms while nodes crash, restart and join as the operating assumption allows.
import { describe, expect, test } from "vitest";
import { type FolderId } from "../../shared/ids.ts";
import { requestGrant } from "../../node/route/grants.ts";
import { RouteCluster, type TestNode } from "../unit/route/route-cluster.ts";
import { SeededChance } from "./seeded-chance.ts";

const CHECK_MS = 25;

async function ideal(size: number, seed = 1): Promise<RouteCluster> {
  const cluster = new RouteCluster(size, { seed });
  await cluster.start(...cluster.nodes);
  await cluster.until(() => cluster.tablesAgree(size) && cluster.ringIsIdeal(), 10_000);
  return cluster;
}

async function checkFor(cluster: RouteCluster, durationMs: number): Promise<void> {
  const end = cluster.clock.now + durationMs;
  while (cluster.clock.now < end) {
    await cluster.clock.runFor(CHECK_MS);
    expect(cluster.ringFaults(), `at ${cluster.clock.now} ms`).toEqual([]);
  }
}

async function settles(cluster: RouteCluster, size: number, withinMs = 20_000): Promise<void> {
  await cluster.until(() => cluster.tablesAgree(size) && cluster.ringIsIdeal(), withinMs);
  await checkFor(cluster, 3_000);
  expect(cluster.ringIsIdeal()).toBe(true);
  expect(cluster.faults()).toEqual([]);
}

async function joiner(cluster: RouteCluster, number: number): Promise<TestNode> {
  const folder = `00000000000000a${number}` as FolderId;
  const id = await cluster.clock.settle(requestGrant(cluster.node(0).peers, ["n0"], folder));
  return cluster.add(`joiner${number}`, id, folder, ["n0"]);
}

describe("ring", () => {
  test.each([1, 2, 3, 4, 5, 6])(
    "keeps Z1-Z8 and Z11 while nodes crash and return, seed %i",
    async (seed) => {
      const chance = new SeededChance(seed);
      const size = 5 + seed;
      const cluster = await ideal(size, seed);
      cluster.loss = seed % 2 === 0 ? 0.05 : 0;
      for (let round = 0; round < 4; round++) {
        const node = cluster.node(Math.floor(chance.fraction() * size));
        cluster.crash(node);
        await checkFor(cluster, chance.fraction() * 12_000);
        await cluster.restart(node);
        await checkFor(cluster, 6_000);
      }
      cluster.loss = 0;
      await settles(cluster, size, 40_000);
    },
  );

  test("four nodes join at once, some into one gap", async () => {
    const cluster = await ideal(5);
    const joiners: TestNode[] = [];
    for (let number = 0; number < 4; number++) joiners.push(await joiner(cluster, number));
    expect(new Set(joiners.map((node) => node.id)).size).toBe(4);
    await cluster.start(...joiners);
    await checkFor(cluster, 3_000);
    await settles(cluster, 9);
    for (const node of cluster.nodes) expect(node.route.arcShare(node.id)).toBeLessThan(0.21);
  });

  test("two joins into one gap whose ids were not granted", async () => {
    const cluster = await ideal(5);
    const near = cluster.node(2).id.slice(0, 31);
    const pair = ["a", "b"].map((last, index) => {
      const id = `${near}${last}` as TestNode["id"];
      return cluster.add(`pair${index}`, id, `00000000000000b${index}` as FolderId, ["n4"]);
    });
    await cluster.start(...pair);
    await checkFor(cluster, 2_000);
    await settles(cluster, 7);
  });

  test("a joiner dies right after JOIN", async () => {
    for (const afterMs of [3, 10, 40, 80, 150, 400]) {
      const cluster = await ideal(5);
      const node = await joiner(cluster, 0);
      await cluster.start(node);
      await checkFor(cluster, afterMs);
      cluster.crash(node);
      await checkFor(cluster, 8_000);
      await cluster.until(
        () => cluster.running.every((each) => each.route.live().length === 5),
        10_000,
      );
      await settles(cluster, 5);
    }
  });

  test("r - 1 successors die together", async () => {
    const cluster = await ideal(12);
    expect(cluster.r).toBe(3);
    cluster.crash(cluster.node(4));
    cluster.crash(cluster.node(5));
    await checkFor(cluster, 8_000);
    await settles(cluster, 10);
  });

  test("one-way links: a node that hears all but is heard by none is dropped and comes back", async () => {
    const cluster = await ideal(6);
    const mute = cluster.node(3);
    for (const node of cluster.nodes) cluster.cut.add(`${mute.name}>${node.name}`);
    await cluster.until(
      () => cluster.nodes.every((each) => each === mute || cluster.stateOf(mute, each) === "dead"),
      20_000,
    );
    cluster.heal();
    await settles(cluster, 6, 60_000);
  });

  test("lookups during churn stay bounded and end", async () => {
    const cluster = await ideal(9);
    const chance = new SeededChance(2);
    for (let round = 0; round < 20; round++) {
      const node = cluster.node(1 + Math.floor(chance.fraction() * 8));
      if (node.running) cluster.crash(node);
      else await cluster.restart(node);
      const point = `${Math.floor(chance.fraction() * 16).toString(16)}${"5".repeat(31)}` as never;
      const found = await cluster.clock.settle(cluster.node(0).route.lookup(point));
      expect(found.hops).toBeLessThan(12);
      expect(cluster.running.map((each) => each.id)).toContain(found.owner.id);
      await cluster.clock.runFor(2_000);
    }
  });

  test("one seed is one schedule", async () => {
    const trace = async () => {
      const cluster = await ideal(5, 42);
      cluster.loss = 0.1;
      cluster.crash(cluster.node(1));
      await cluster.clock.runFor(20_000);
      return JSON.stringify([cluster.clock.events, cluster.events, cluster.states()]);
    };
    expect(await trace()).toBe(await trace());
  });
});
