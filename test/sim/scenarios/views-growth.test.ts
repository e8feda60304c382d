// Views that follow the ring: a cluster that grows from one node, a node that is lost for good.
import { expect, test } from "vitest";
import { encodeRow, registerRow, registerRowsEnd } from "../../../node/index/rows.ts";
import { registerKey } from "../../../node/index/types.ts";
import { type Slice } from "../../../shared/slices.ts";
import { makeBallot, makeVersion } from "../../../shared/versions.ts";
import { putOk, Scene } from "../scene.ts";

/** Epoch and members of every slice as its own members have it; throws when a slice has no active member. */
function voters(scene: Scene): Map<number, { epoch: number; members: readonly number[] }> {
  const views = new Map<number, { epoch: number; members: readonly number[] }>();
  for (const i of scene.world.up()) {
    for (let slice = 0; slice < 16; slice++) {
      const { epoch, members } = scene.world.node(i).index.view(slice as typeof scene.slice);
      if ((views.get(slice)?.epoch ?? 0) >= epoch) continue;
      views.set(slice, { epoch, members: members.map((id) => scene.world.numberOf(id)) });
    }
  }
  return views;
}

/** A cluster in which so many keys have a value; they are put at its nodes in turn. */
async function openFilled(options: { nodes: number; copies?: number }, count: number) {
  const scene = await Scene.open(options);
  const client = scene.client("c");
  const keys = Array.from({ length: count }, (_, i) => `k${i}`);
  for (const [i, key] of keys.entries()) await putOk(scene, client, i % options.nodes, key);
  return { scene, world: scene.world, client, keys };
}

/** A node answers with a value for every key, and all answers so far are explained. */
async function expectAllThere(filled: Awaited<ReturnType<typeof openFilled>>, at: number) {
  const { scene, world, client, keys } = filled;
  for (const key of keys) {
    const read = await scene.run(client.get(key, { at }));
    expect(read?.value, key).toBeDefined();
  }
  expect(scene.history.violations()).toEqual([]);
  expect(world.defects).toEqual([]);
}

test("a cluster of one node grows to three voters a slice, and loses nothing", async () => {
  const filled = await openFilled({ nodes: 1, copies: 3 }, 40);
  const { scene, world } = filled;
  const added = [world.addNode(), world.addNode()];
  await scene.run(Promise.all(added.map((i) => world.restart(i))));
  await world.clock.runFor(100_000);
  for (const [slice, { members }] of voters(scene)) {
    expect(
      members.toSorted((a, b) => a - b),
      `slice ${slice}`,
    ).toEqual([0, 1, 2]);
  }
  world.crash(0);
  await world.clock.runFor(15_000);
  await expectAllThere(filled, 1);
  await world.stop();
});

test("a node that is lost for good is replaced within a minute and a half", async () => {
  const filled = await openFilled({ nodes: 5 }, 40);
  const { scene, world } = filled;
  world.machines[2]!.wipe();
  await world.clock.runFor(90_000);
  for (const [slice, { members }] of voters(scene)) {
    expect(members, `slice ${slice}`).toHaveLength(3);
    expect(members, `slice ${slice}`).not.toContain(2);
  }
  // One more of each view may go now.
  world.crash(0);
  await world.clock.runFor(15_000);
  await expectAllThere(filled, 1);
  await world.stop();
});

test("a node that leaves hands over its slices at once, and may then be taken away", async () => {
  const filled = await openFilled({ nodes: 4 }, 20);
  const { scene, world } = filled;
  await scene.run(world.node(1).route!.leave());
  await world.clock.runFor(10_000);
  expect((await scene.run(world.node(1).index.counts())).slicesHeld).toBe(0);
  for (const [slice, { members }] of voters(scene)) {
    expect(members, `slice ${slice}`).toHaveLength(3);
    expect(members, `slice ${slice}`).not.toContain(1);
  }
  await scene.run(world.machines[1]!.leave());
  await expectAllThere(filled, 3);
});

test("three nodes of which one leaves go on with one voter a slice", async () => {
  const scene = await Scene.open({ nodes: 3 });
  const { world } = scene;
  const client = scene.client("c");
  await scene.run(client.put("k", 50, { at: 0 }));
  await scene.run(world.node(2).route!.leave());
  await world.clock.runFor(10_000);
  await scene.run(world.machines[2]!.leave());
  for (const [slice, { members }] of voters(scene))
    expect(members, `slice ${slice}`).toHaveLength(1);
  expect((await scene.run(client.put("k", 50, { at: 1 }))).outcome).toBe("ok");
  expect((await scene.run(client.get("k", { at: 0 })))?.value).toBeDefined();
  expect(scene.history.violations()).toEqual([]);
});

test("registers of a slice in which a node has no part are deleted when it starts", async () => {
  const { scene, world } = await openFilled({ nodes: 5 }, 60);
  await world.clock.runFor(2_000);
  const { disk } = world.machines[4]!;
  const rows = (slice: Slice): number =>
    disk.rows({ from: registerRow(slice, ""), to: registerRowsEnd(slice), limit: 1_000 }).length;
  const slices = [...voters(scene)];
  const own = slices
    .filter(([, { members }]) => members.includes(4))
    .map(([slice]) => slice as Slice);
  const [foreign] = slices.find(([, { members }]) => !members.includes(4))!;
  const before = own.map(rows);
  world.crash(4);
  // As a copy leaves them whose change never came.
  const key = registerRow(foreign as Slice, registerKey("object", scene.bucket.id, "left"));
  const version = makeVersion(makeBallot(2, 1, world.machines[4]!.voter!), 1);
  disk.apply([{ key, value: encodeRow(version, "") }]);
  expect(rows(foreign as Slice)).toBe(1);
  await scene.run(world.restart(4));
  await world.clock.runFor(5_000);
  expect(rows(foreign as Slice)).toBe(0);
  expect(own.map(rows)).toEqual(before);
  expect(Math.max(...before)).toBeGreaterThan(0);
  expect(scene.problems()).toEqual([]);
});
