// Another number of copies while a cluster runs: views and blocks follow by themselves, whoever dies meanwhile, and all
// nodes come to know it, those that were away and those that come later too.
import { expect, test } from "vitest";
import { blocksIn } from "../../../node/index/types.ts";
import { objectAddress } from "../../../node/object/addresses.ts";
import { type Copies } from "../../../shared/copies.ts";
import { inlineBytesMax, repairAfterDefaultMs, repairThinMs } from "../../../shared/limits.ts";
import { SYSTEM_SETTINGS } from "../../../shared/records.ts";
import { sliceOfShard } from "../../../shared/slices.ts";
import { type Client } from "../client.ts";
import { knownViews } from "../copies.ts";
import { Scene } from "../scene.ts";

const SLICES = 16; // of a simulated cluster
const LARGE = inlineBytesMax + 1;

/** The newest view of each slice that a node knows of, members rising. */
function newestViews({ world }: Scene): number[][] {
  const views = new Map<number, { epoch: number; members: number[] }>();
  for (const { slice, epoch, members } of knownViews(world))
    if ((views.get(slice)?.epoch ?? 0) < epoch) views.set(slice, { epoch, members });
  return [...views.values()].map(({ members }) => members);
}

const sizesOf = (scene: Scene): number[] => [
  ...new Set(newestViews(scene).map((members) => members.length)),
];

/** What each node that is up knows. */
const settings = ({ world }: Scene) => world.up().map((i) => world.node(i).route!.copies());

const ask = (scene: Scene, at: number, copies: Copies) =>
  scene.run(scene.world.operator.setCopies(scene.world.address(at), copies));

/** Runs until a condition holds. Gives how long that took, in virtual ms. */
async function until(
  { world }: Scene,
  what: string,
  withinMs: number,
  holds: () => Promise<boolean> | boolean,
): Promise<number> {
  const begunMs = world.clock.now;
  while (!(await holds())) {
    if (world.clock.now - begunMs > withinMs)
      throw new Error(`Waited ${withinMs} ms in vain for: ${what}`);
    await world.clock.runFor(100);
  }
  return world.clock.now - begunMs;
}

/** Numbers of good copies on disks of the blocks of some keys, and of blocks on disks that no key names. */
async function copiesOnDisks(scene: Scene, keys: readonly string[]) {
  const { world, bucket } = scene;
  const { index } = world.node(world.up()[0]!);
  const named = new Set<string>();
  const counts = new Set<number>();
  for (const key of keys) {
    const at = objectAddress(bucket, key, world.genesis.sliceBits);
    const { value } = await scene.run(index.read(at, { body: false }));
    for (const { id, replicas } of value ? blocksIn(value) : []) {
      named.add(id);
      const whole = world.machines.filter(({ number }) => world.hasBlock(number, id));
      counts.add(whole.length === replicas.length ? whole.length : -1);
    }
  }
  const all = world.machines.flatMap(({ number }) => world.blocksOf(number));
  return { counts: [...counts], strangers: all.filter((id) => !named.has(id)).length };
}

/** Clients that write and read until they are told to end; none of them may ever wait in vain. */
class Load {
  readonly keys: readonly string[];
  #over = false;
  #ended: Promise<unknown> = Promise.resolve();
  calls = 0;
  longestMs = 0;

  constructor(scene: Scene, clients: number, at: () => number) {
    const perClient = Array.from({ length: clients }, (_, n) => [`load-${n}`, `large-${n}`]);
    this.keys = perClient.flat();
    const work = async (client: Client, [small, large]: string[]): Promise<void> => {
      for (let turn = 0; !this.#over; turn++) {
        const begunMs = scene.world.clock.now;
        if (turn % 5 === 0) await client.put(large!, LARGE, { at: at() });
        else if (turn % 2 === 0) await client.get(small!, { at: at() });
        else await client.append(small!, 50);
        this.calls++;
        this.longestMs = Math.max(this.longestMs, scene.world.clock.now - begunMs);
        await scene.world.clock.sleep(200);
      }
    };
    this.#ended = Promise.all(perClient.map((keys, n) => work(scene.client(`load ${n}`), keys)));
  }

  async end(scene: Scene): Promise<void> {
    this.#over = true;
    await scene.run(this.#ended);
  }
}

test("three copies become five and three again under load, with a crash in the middle of each", async () => {
  const scene = await Scene.open({ nodes: 5, syncMs: 1 });
  const { world } = scene;
  const client = scene.client("c");
  const kept = Array.from({ length: 30 }, (_, i) => `kept ${i}`);
  for (const [i, key] of kept.entries()) await scene.run(client.put(key, LARGE + i, { at: i % 5 }));
  const load = new Load(scene, 3, () => world.up()[0]!);
  await world.clock.runFor(2_000);
  const tooks: string[] = [];
  for (const [copies, victim, step] of [
    [5, 4, "index.install"],
    [3, 3, "index.seal"],
  ] as const) {
    world.onNext(victim, step, () => world.crash(victim));
    const setting = await ask(scene, 1, copies);
    expect(setting.copies).toBe(copies);
    await until(scene, "the crash", 20_000, () => !world.isUp(victim));
    const told = world.up().map((i) => world.node(i).index.counts());
    expect(
      Math.max(...(await scene.run(Promise.all(told))).map(({ views }) => views.changing)),
    ).toBeGreaterThan(0);
    await world.clock.runFor(5_000);
    await scene.run(world.restart(victim));
    const viewsMs = await until(
      scene,
      `${copies} voters everywhere`,
      60_000,
      () => sizesOf(scene).join() === `${copies}`,
    );
    // One that has just come back may have heard of it later than the views were changed.
    await until(scene, "all to know it", 5_000, () =>
      settings(scene).every(({ version }) => version === setting.version),
    );
    expect(settings(scene)).toEqual(Array.from({ length: 5 }, () => setting));
    const blocksMs = await until(scene, "the blocks", 3 * repairThinMs + 90_000, async () => {
      const { counts } = await copiesOnDisks(scene, kept);
      return counts.join() === `${copies}`;
    });
    tooks.push(`${copies}: views after ${viewsMs} ms, blocks after ${blocksMs} ms`);
  }
  await load.end(scene);
  console.log(`${tooks.join("; ")}; ${load.calls} calls, the longest ${load.longestMs} ms`);
  expect(load.calls).toBeGreaterThan(200);
  for (const key of kept)
    expect((await scene.run(client.get(key, { at: 0 })))?.value, key).toBeDefined();
  await until(scene, "no copy too many", 120_000, async () => {
    const { counts } = await copiesOnDisks(scene, [...kept, ...load.keys]);
    return counts.join() === "3";
  });
  // What was dropped lies on no disk any more; replaced objects are garbage for an hour.
  const { strangers } = await copiesOnDisks(scene, [...kept, ...load.keys]);
  const held = world.machines.reduce((sum, { number }) => sum + world.blocksOf(number).length, 0);
  expect(held - strangers).toBe(3 * (kept.length + load.keys.length / 2));
  expect(scene.problems()).toEqual([]);
});

test("one copy becomes five and one again: what stays is read whole before the others go", async () => {
  const scene = await Scene.open({ nodes: 5, copies: 1 });
  const { world } = scene;
  const client = scene.client("c");
  const keys = Array.from({ length: 12 }, (_, i) => `k${i}`);
  for (const [i, key] of keys.entries()) await scene.run(client.put(key, LARGE + i, { at: i % 5 }));
  const have = (copies: number) => async () =>
    sizesOf(scene).join() === `${copies}` &&
    (await copiesOnDisks(scene, keys)).counts.join() === `${copies}`;
  await ask(scene, 0, 5);
  await until(scene, "five copies", 60_000, have(5));
  // Four of five rot, and nobody has read them.
  for (const id of new Set(world.blocksOf(0))) for (const i of [0, 1, 2, 3]) world.rot(i, id);
  await ask(scene, 0, 1);
  await until(scene, "one copy", 120_000, have(1));
  expect((await copiesOnDisks(scene, keys)).strangers).toBe(0);
  const homes = world.machines.filter(({ number }) => world.blocksOf(number).length > 0);
  expect(homes.length).toBeGreaterThan(1);
  for (const key of keys)
    expect((await scene.run(client.get(key, { at: 3 })))?.value, key).toBeDefined();
  expect(scene.problems()).toEqual([]);
});

test("a node that was down learns it when it starts, and so does a new one", async () => {
  const scene = await Scene.open({ nodes: 6, joinAfterMs: 1_000 });
  const { world } = scene;
  const backup = world.machines[4]!.disk.rows({ from: "", to: "\u{10ffff}", limit: Infinity });
  world.crash(5);
  await ask(scene, 0, 5);
  await world.clock.runFor(30_000);
  world.crash(4);
  const setting = await ask(scene, 0, 3);
  expect(setting).toEqual({ version: 2, copies: 3 });
  await world.clock.runFor(10_000);
  // Node 4 comes back as it was before any change: that is not what counts for the others, or for itself.
  world.machines[4]!.disk.apply(backup.filter(({ key }) => key.startsWith("c/")));
  await scene.run(Promise.all([world.restart(4), world.restart(5)]));
  const added = world.addNode();
  await scene.run(world.restart(added));
  await world.clock.runFor(500);
  expect(settings(scene)).toEqual(Array.from({ length: 7 }, () => setting));
  await until(scene, "three voters", 60_000, () => sizesOf(scene).join() === "3");
  expect(scene.problems()).toEqual([]);
});

test("of changes that race one is the last, and the same for all", async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const scene = await Scene.open({ nodes: 5, seed, quality: { jitterMs: 20 } });
    const { world } = scene;
    const orders = [5, 1, 3, 5, 1] as const;
    const told = await scene.run(
      Promise.all(orders.map((copies, i) => world.operator.setCopies(world.address(i), copies))),
    );
    const last = told.toSorted((a, b) => b.version - a.version)[0]!;
    for (const one of told) if (one.version === last.version) expect(one).toEqual(last);
    await until(scene, "one setting", 20_000, () =>
      settings(scene).every(({ version }) => version === last.version),
    );
    expect(new Set(settings(scene).map(({ copies }) => copies))).toEqual(new Set([last.copies]));
    await until(scene, "its views", 60_000, () => sizesOf(scene).join() === `${last.copies}`);
    expect(scene.problems()).toEqual([]);
  }
});

test("a decision is spread although the node that was asked dies before it knows", async () => {
  const scene = await Scene.open({ nodes: 5 });
  const { world } = scene;
  const slice = sliceOfShard(SYSTEM_SETTINGS, 0, world.genesis.sliceBits);
  await world.clock.runFor(3_000);
  const { members, leader } = world.node(0).index.view(slice);
  const asked = world.up().find((i) => !members.includes(world.id(i)))!;
  expect(leader).toBeDefined();
  world.onNext(asked, "index.execute reply", () => world.crash(asked));
  const outcome = world.operator.setCopies(world.address(asked), 5).catch(() => "no answer");
  await until(scene, "the death", 5_000, () => !world.isUp(asked));
  await until(scene, "the news", 20_000, () => settings(scene).every(({ copies }) => copies === 5));
  expect(await scene.run(outcome)).toBe("no answer");
  await scene.run(world.restart(asked));
  await until(scene, "five voters", 90_000, () => sizesOf(scene).join() === "5");
  expect(scene.problems()).toEqual([]);
});

test("what was acknowledged is known after a power loss of all, also when no node had stored it", async () => {
  const scene = await Scene.open({ nodes: 5, syncMs: 20 });
  const { world } = scene;
  const setting = await ask(scene, 2, 5);
  for (const i of world.up()) world.crash(i);
  for (const { disk } of world.machines) disk.apply([{ key: "c/copies", value: undefined }]);
  await scene.run(Promise.all(world.machines.map(({ number }) => world.restart(number))));
  await until(scene, "the news", 20_000, () =>
    settings(scene).every(({ version }) => version === setting.version),
  );
  await until(scene, "five voters", 90_000, () => sizesOf(scene).join() === "5");
  expect(scene.problems()).toEqual([]);
});

test("too few nodes: what can be is done, the lost are replaced, and the rest comes with new nodes", async () => {
  const scene = await Scene.open({ nodes: 4, joinAfterMs: 1_000, repairAfterMs: 2_000 });
  const { world } = scene;
  const client = scene.client("c");
  const keys = Array.from({ length: 8 }, (_, i) => `k${i}`);
  for (const [i, key] of keys.entries()) await scene.run(client.put(key, LARGE, { at: i % 4 }));
  await ask(scene, 0, 5);
  await world.clock.runFor(40_000);
  expect(sizesOf(scene)).toEqual([3]);
  expect((await copiesOnDisks(scene, keys)).counts).toEqual([4]);
  // A fifth node that dies at once counts as one that may come back: five voters are wanted, four nodes are there.
  const fifth = world.addNode();
  await scene.run(world.restart(fifth));
  await world.clock.runFor(300);
  world.machines[fifth]!.wipe();
  await world.clock.runFor(20_000);
  expect(sizesOf(scene)).toEqual([3]);
  world.machines[3]!.wipe();
  await until(scene, "the replacement", 60_000, () =>
    newestViews(scene).every((members) => members.join() === "0,1,2"),
  );
  const added = [world.addNode(), world.addNode()];
  await scene.run(Promise.all(added.map((i) => world.restart(i))));
  await until(scene, "five voters", 60_000, () =>
    newestViews(scene).every((members) => members.join() === `0,1,2,${added.join()}`),
  );
  expect(newestViews(scene)).toHaveLength(SLICES);
  await until(scene, "five copies", 120_000, async () => {
    const { counts } = await copiesOnDisks(scene, keys);
    return counts.join() === "5";
  });
  expect(scene.problems()).toEqual([]);
});

// A node that starts takes all for alive whom it knew so. Of five voters two are gone for good then.
test("a view gets smaller only with members that answer, whatever the table says", async () => {
  const scene = await Scene.open({ nodes: 5, copies: 5 });
  const { world } = scene;
  const client = scene.client("c");
  const keys = Array.from({ length: 20 }, (_, i) => `k${i}`);
  for (const key of keys) await scene.run(client.put(key, 50, { at: 0 }));
  await world.clock.runFor(3_000);
  for (const i of world.up()) world.crash(i);
  const [lost, left] = [
    [1, 2],
    [0, 3, 4],
  ];
  for (const i of lost) world.machines[i]!.wipe();
  // Nobody refuses what is sent to them: it takes a while to find out.
  world.conditions.cut(world.addresses(lost), world.addresses(left));
  // The others hear of the change before they miss those two.
  const value = new TextEncoder().encode(JSON.stringify({ version: 1, copies: 3 }));
  for (const i of left) world.machines[i]!.disk.apply([{ key: "c/copies", value }]);
  await scene.run(Promise.all(left.map((i) => world.restart(i))));
  // Writes make leaders at once.
  await scene.run(Promise.all(keys.map((key) => client.put(key, 60, { at: 0 }))));
  expect(world.node(0).route!.live()).toHaveLength(5);
  await until(scene, "three voters", 2 * repairAfterDefaultMs, () =>
    newestViews(scene).every((members) => members.join() === left.join()),
  );
  for (const key of keys)
    expect((await scene.run(client.get(key, { at: 0 })))?.value, key).toBeDefined();
  expect(scene.problems()).toEqual([]);
});
