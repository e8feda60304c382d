// The ring begins, and nodes come in: alone, several at once, and some that die on the way.
import { expect, test } from "vitest";
import { type NodeId } from "../../../shared/ids.ts";
import { successorIndex } from "../../../shared/ring.ts";
import { RouteCluster } from "../../unit/route/route-cluster.ts";
import { RingScene } from "./ring-scene.ts";

test("a ring starts with r + 1 members and is ideal", async () => {
  const scene = await RingScene.ideal(3);
  expect(scene.cluster.states()).toHaveLength(scene.cluster.r + 1);
  await scene.settles(3);
});

test("fewer than r + 1 members are refused as a ring, and the table alone routes", async () => {
  for (const size of [1, 2]) {
    const cluster = new RouteCluster(size);
    await cluster.start(...cluster.nodes);
    await cluster.clock.runFor(30_000);
    expect(cluster.states()).toEqual([]);
    expect(cluster.faults()).toEqual([]);
    const ids = cluster.nodes.map((node) => node.id);
    for (const node of cluster.nodes) {
      const point = "8".repeat(32) as NodeId;
      const { owner } = await cluster.clock.settle(node.route.lookup(point));
      expect(owner.id).toBe(ids[successorIndex(ids, point)]);
    }
  }
});

test("two nodes join one gap with ids that nobody granted, in either order, at every distance in time", async () => {
  for (const [apartMs, last] of [0, 2, 5, 20, 60, 130, 400].flatMap((ms) =>
    ["ab", "ba"].map((order) => [ms, order] as const),
  )) {
    const scene = await RingScene.ideal(5, { seed: 1 + apartMs });
    const { cluster } = scene;
    const near = cluster.node(2).id.slice(0, 31);
    const first = scene.joinerAt(near + last[0]!, "n4");
    const second = scene.joinerAt(near + last[1]!, "n1");
    const started = [cluster.begin(first)];
    await scene.run(apartMs);
    started.push(cluster.begin(second));
    await scene.run(() => cluster.tablesAgree(7));
    await Promise.all(started);
    await scene.settles(7);
  }
});

test("four nodes join at once, some into one gap", async () => {
  const scene = await RingScene.ideal(5);
  const { cluster } = scene;
  const joiners = [];
  for (let count = 0; count < 4; count++) joiners.push(await scene.grantedJoiner());
  expect(new Set(joiners.map((node) => node.id)).size).toBe(4);
  await scene.start(...joiners);
  await scene.settles(9);
  for (const node of cluster.nodes) expect(node.route.arcShare(node.id)).toBeLessThan(0.21);
});

test("a joiner dies between its lookup and its first stabilization", async () => {
  for (const moment of [1, 2, 3, 4, "joined"] as const) {
    const scene = await RingScene.ideal(5, { seed: moment === "joined" ? 5 : moment });
    const { cluster } = scene;
    const joiner = scene.joinerAt(`${cluster.node(3).id.slice(0, 31)}f`);
    // It dies while the nth answer of the ring is on its way to it, or when it has just joined.
    let answers = 0;
    cluster.onMessage = ({ to, kind, name }) => {
      if (to === joiner.name && kind === "reply" && name === "route.neighbours") answers++;
      return undefined;
    };
    const isMember = (): boolean => joiner.route.ringState() !== undefined;
    void cluster.begin(joiner);
    await scene.run(() => (moment === "joined" ? isMember() : answers >= moment), 5_000);
    expect(isMember()).toBe(moment === "joined");
    scene.crash(joiner);
    await scene.counts(5);
    await scene.settles(5);
  }
});

test("a joiner dies soon after its start, as a member or before it is one", async () => {
  const wasMember: boolean[] = [];
  for (const afterMs of [3, 10, 40, 80, 150, 400]) {
    const scene = await RingScene.ideal(5);
    const joiner = await scene.grantedJoiner();
    await scene.start(joiner);
    await scene.run(afterMs);
    wasMember.push(joiner.route.ringState() !== undefined);
    scene.crash(joiner);
    await scene.counts(5);
    await scene.settles(5);
  }
  expect(new Set(wasMember).size).toBe(2);
});

test("a candidate dies before STABILIZE-2", async () => {
  const scene = await RingScene.ideal(8);
  const { cluster } = scene;
  const asker = cluster.node(2);
  const joiner = scene.joinerAt(`${asker.id.slice(0, 31)}f`);
  void cluster.begin(joiner);
  await scene.run(() => asker.route.ringState()?.candidate?.id === joiner.id, 10_000);
  scene.crash(joiner);
  // It is never adopted, not even until it is known to be dead.
  let adopted = false;
  await scene.run(() => {
    adopted ||= asker.route.ringState()!.successors.some(({ id }) => id === joiner.id);
    return cluster.running.every(({ route }) => route.live().length === 8);
  });
  expect(adopted).toBe(false);
  await scene.settles(8);
  expect(asker.route.ring().successors[0]).toBe(cluster.node(3).id);
});

test("ids wrap around: nodes join on both sides of zero, and those beside it fail", async () => {
  const scene = await RingScene.ideal(8);
  const { cluster } = scene;
  const [lastPoint, firstPoint] = ["f".repeat(32), `${"0".repeat(31)}1`];
  const below = scene.joinerAt(lastPoint);
  const above = scene.joinerAt(firstPoint, "n3");
  const zero = scene.joinerAt("0".repeat(32), "n5");
  for (const node of [below, above, zero]) {
    await scene.start(node);
    await scene.settles(cluster.running.length);
  }
  expect(below.route.ring().successors[0]).toBe(zero.id);
  expect(above.route.ring().predecessor).toBe(zero.id);
  for (const node of cluster.running)
    expect(await scene.ownerSeenBy(node, firstPoint)).toBe(above.id);
  scene.crash(zero);
  await scene.settles(10);
  scene.crash(below);
  await scene.settles(9);
  expect(above.route.ring().predecessor).toBe(cluster.node(7).id);
  for (const node of cluster.running)
    expect(await scene.ownerSeenBy(node, lastPoint)).toBe(above.id);
});
