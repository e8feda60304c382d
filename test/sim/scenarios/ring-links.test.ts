// Links of the ring that carry one way, not at all, or only within two halves, and a node that stands still.
import { expect, test } from "vitest";
import { SeededChance } from "../seeded-chance.ts";
import { RingScene } from "./ring-scene.ts";

// Each of the two is reached through the others, so that neither is buried.
test("non-transitive links: two neighbours that cannot talk stay members", async () => {
  const scene = await RingScene.ideal(7);
  const { cluster } = scene;
  const [a, b] = [cluster.node(2), cluster.node(3)];
  cluster.partition([a], [b]);
  const lookups = scene.lookUpAllTheWhile(8);
  await scene.run(60_000);
  for (const node of cluster.nodes) expect(node.route.live()).toHaveLength(7);
  expect(cluster.events.filter((each) => each.event === "Member is dead")).toEqual([]);
  expect(await scene.ownerSeenBy(cluster.node(0), b.id)).toBe(b.id);
  expect(await scene.ownerSeenBy(b, b.id)).toBe(b.id);
  // An owner that does not answer is passed over: who asks wants to reach somebody.
  expect(await scene.ownerSeenBy(a, b.id)).toBe(cluster.node(4).id);
  cluster.heal();
  await scene.settles(7);
  expect(await lookups.stop()).toBeGreaterThan(100);
});

test("one-way links: a node that nobody hears is dropped, and is a member again after the heal", async () => {
  const scene = await RingScene.ideal(7);
  const { cluster } = scene;
  const [mute, ...others] = cluster.nodes;
  for (const node of others) cluster.cut.add(`${mute!.name}>${node.name}`);
  // The others close their ring over it while it runs.
  scene.watch("local");
  await scene.run(() => others.every((each) => cluster.stateOf(mute!, each) === "dead"), 20_000);
  cluster.heal();
  await scene.becomesIdeal(7);
  scene.watch("ring");
  await scene.settles(7);
});

test("a slow node that pauses 30 s is dropped, blames nobody, and is a member again soon after it wakes", async () => {
  const scene = await RingScene.ideal(8);
  const { cluster } = scene;
  const [slow, ...others] = cluster.nodes;
  let delayMs = 100;
  cluster.onMessage = ({ from, to }) =>
    slow!.name === from || slow!.name === to ? [delayMs] : undefined;
  await scene.run(10_000);
  for (const each of others) expect(cluster.stateOf(slow!, each)).toBe("alive");
  slow!.clock.pause();
  // Its kernel still takes what is sent, and nobody answers.
  delayMs = 30_000;
  // The others close their ring over it.
  scene.watch("local");
  await scene.run(30_000);
  for (const each of others) expect(cluster.stateOf(slow!, each)).toBe("dead");
  delayMs = 100;
  slow!.clock.resume();
  await scene.becomesIdeal(8, 20_000);
  const blamed = cluster.events.filter((each) => each.event === "Member is dead");
  expect(blamed.every((each) => each.node !== slow!.name)).toBe(true);
  scene.watch("ring");
  await scene.settles(8);
});

// With every second node on one side each list of successors loses half; with two arcs the node at the end of each
// loses them all.
const cuts = [1, 2, 3, 4].flatMap((seed) => [
  { seed, cut: "every second node on one side", sideOf: (index: number) => index % 2 },
  { seed, cut: "two arcs", sideOf: (index: number) => Math.floor(index / 6) },
]);

test.each(cuts)(
  "half/half partition with churn on both sides heals to one ring within 30 s: $cut, seed $seed",
  async ({ seed, sideOf }) => {
    const scene = await RingScene.ideal(12, { seed });
    const { cluster } = scene;
    const chance = new SeededChance(seed);
    const sides = [0, 1].map((side) => cluster.nodes.filter((_, index) => sideOf(index) === side));
    cluster.partition(sides[0]!, sides[1]!);
    scene.watch("local");
    const lookups = scene.lookUpAllTheWhile(seed);
    await scene.run(10_000 + chance.below(10_000));
    for (const side of sides) {
      const [gone, back] = chance.shuffle(side);
      scene.crash(gone!, back!);
      const seedOfJoin = side.find((node) => node !== gone && node !== back)!;
      const id = `${chance.pick(side).id.slice(0, 30)}f${seed}`;
      const joiner = scene.joinerAt(id, seedOfJoin.name);
      cluster.partition(
        [joiner],
        sides.find((each) => each !== side)!,
      );
      await scene.run(5_000);
      await scene.restart(back!);
      await scene.start(joiner);
      side.push(joiner);
    }
    await scene.run(15_000);
    // Each side has lost one and gained one, and is a ring of its own.
    for (const side of sides) {
      for (const node of side.filter((each) => each.running))
        expect(node.route.live()).toHaveLength(6);
    }
    cluster.heal();
    await scene.becomesIdeal(12, 30_000);
    scene.watch("ring");
    await scene.settles(12);
    expect(await lookups.stop()).toBeGreaterThan(200);
  },
);
