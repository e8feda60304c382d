// Nodes that genesis does not know come in, work as coordinators, and go; others go for good.
import { expect, test } from "vitest";
import { type RouteModule } from "../../../node/route/route.ts";
import { pieceBytes } from "../../../shared/limits.ts";
import { canLose } from "../copies.ts";
import { checkReplicas, checkRoute } from "../liveness.ts";
import { KEY, putOk, Scene } from "../scene.ts";

/** A node of genesis and what it sees of the others. */
const liveSeenBy = ({ world }: Scene, i: number): number => world.node(i).route!.live().length;

test("a new node asks for an id, joins the ring and serves clients", async () => {
  const scene = await Scene.open({ nodes: 4 });
  const { world } = scene;
  const client = scene.client("c");
  const value = await putOk(scene, client, 0);
  const added = world.addNode();
  expect(added).toBe(4);
  expect(() => world.id(added)).toThrow("has not joined");
  await scene.run(world.restart(added));
  expect(await checkRoute(world)).toBeLessThan(20_000);
  for (const i of world.up()) expect(liveSeenBy(scene, i)).toBe(5);
  expect((world.node(added).route as RouteModule).ringState()?.successors).toHaveLength(2);
  expect(await scene.run(client.get(KEY, { at: added }))).toEqual({ value });
  const next = await putOk(scene, client, added);
  const large = await scene.run(client.put("large", 2 * pieceBytes, { at: added }));
  expect(large.outcome).toBe("ok");
  expect(await scene.readEverywhere()).toEqual(Array.from({ length: 5 }, () => next));
  expect(await scene.readEverywhere("large")).toEqual(Array.from({ length: 5 }, () => large.value));
  expect(scene.problems()).toEqual([]);
});

test("a new node that crashes keeps the id that it was granted", async () => {
  const scene = await Scene.open({ nodes: 4 });
  const { world } = scene;
  const added = world.addNode();
  await scene.run(world.restart(added));
  const id = world.id(added);
  await checkRoute(world);
  world.crash(added);
  await world.clock.runFor(10_000);
  expect(liveSeenBy(scene, 0)).toBe(4);
  await scene.run(world.restart(added));
  expect(world.id(added)).toBe(id);
  await checkRoute(world);
  expect(liveSeenBy(scene, 0)).toBe(5);
  expect(scene.problems()).toEqual([]);
});

test("a new node that no seed answers tries again until one does", async () => {
  const scene = await Scene.open({ nodes: 3 });
  const { world } = scene;
  const added = world.addNode();
  const uncut = world.conditions.cut([world.address(added)], world.addresses([0, 1, 2]));
  const started = world.restart(added);
  await world.clock.runFor(60_000);
  expect(world.up()).toEqual([0, 1, 2]);
  uncut();
  await scene.run(started);
  await checkRoute(world);
  expect(world.up()).toEqual([0, 1, 2, 3]);
  expect(scene.problems()).toEqual([]);
});

// The folder's registers are gone: what it promised, too. It must never vote again, and the others do without it.
test("a wiped node is gone for good, and nothing acknowledged is lost with it", async () => {
  for (const i of [0, 1, 2]) {
    const scene = await Scene.open({ seed: 1 + i });
    const { world } = scene;
    const client = scene.client("c");
    const small = await putOk(scene, client, 0);
    const large = await scene.run(client.put("large", 2 * pieceBytes, { at: 0 }));
    await world.clock.runFor(1_000);
    expect(canLose(world, i)).toBe(true);
    world.machines[i]!.wipe();
    const others = scene.others(i);
    for (const other of others) expect(canLose(world, other)).toBe(false);
    await world.heal();
    expect(world.up()).toEqual(others);
    expect(await scene.readEverywhere()).toEqual([small, small]);
    expect(await scene.readEverywhere("large")).toEqual([large.value, large.value]);
    const next = await putOk(scene, client, others[0]!);
    expect(await scene.readEverywhere()).toEqual([next, next]);
    await checkReplicas(world);
    expect(scene.problems()).toEqual([]);
  }
});

test("f + 1 nodes gone for good: the rest refuses and never answers with what it has left", async () => {
  const scene = await Scene.open();
  const { world } = scene;
  const client = scene.client("c");
  await putOk(scene, client, 0);
  await world.clock.runFor(1_000);
  world.machines[0]!.wipe();
  world.machines[1]!.wipe();
  expect(await scene.readEverywhere()).toEqual(["no answer"]);
  expect((await scene.run(client.put(KEY, 50, { at: 2 }))).outcome).toBe("unknown");
  expect(scene.problems()).toEqual([]);
});
