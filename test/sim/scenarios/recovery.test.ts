// What an operator's order brings back after the loss of majorities, whatever was under way when the nodes died.
import { expect, test } from "vitest";
import { type NodeId, parseRequestId } from "../../../shared/ids.ts";
import { Client } from "../client.ts";
import { KEY, putOk, Scene } from "../scene.ts";

interface Loss {
  readonly scene: Scene;
  readonly lost: readonly NodeId[];
}

/** Takes nodes away for good. */
function lose(scene: Scene, ...numbers: readonly number[]): NodeId[] {
  const ids = numbers.map((i) => scene.world.id(i));
  for (const i of numbers) scene.world.machines[i]!.wipe();
  return ids;
}

/** The order at all nodes that are up: what becomes of the slices, added up. */
async function order({ scene, lost }: Loss, startAnyway = false) {
  const { world } = scene;
  const began = world
    .up()
    .map((i, at) =>
      world.node(i).index.recover({ lost: [...lost], startAnyway, orphans: at === 0 }),
    );
  const total = { slices: 0, blocked: 0, unheld: 0 };
  for (const { slices, blocked, unheld } of await scene.run(Promise.all(began))) {
    total.slices += slices;
    total.blocked += blocked.length;
    total.unheld += unheld;
  }
  return total;
}

/** The slice of the key does not serve; after the order it does, with what was written, and a second order does nothing. */
async function comesBack(loss: Loss, client: Client, value: string, at: number): Promise<void> {
  const { scene } = loss;
  await scene.world.clock.runFor(20_000);
  expect(await scene.run(client.get(KEY, { at }))).toBeUndefined();
  const first = await order(loss);
  expect(first).toMatchObject({ blocked: 0, unheld: 0 });
  expect(first.slices).toBeGreaterThan(0);
  expect((await order(loss)).slices).toBe(0);
  await scene.world.clock.runFor(2_000);
  expect(await order(loss)).toEqual({ slices: 0, blocked: 0, unheld: 0 });
  expect(await scene.run(client.get(KEY, { at }))).toEqual({ value });
  await putOk(scene, client, at);
  expect(scene.problems()).toEqual([]);
}

/** The voters of the key's slice, the leader first, and the other nodes. */
async function parts(nodes: number) {
  const scene = await Scene.open({ nodes });
  const client = scene.client("c");
  const value = await putOk(scene, client, 0);
  const a = await scene.leader();
  const [b, c] = scene.view(a).members.filter((i) => i !== a) as [number, number];
  const [d, e] = scene.world.up().filter((i) => ![a, b, c].includes(i)) as [number, number];
  return { scene, world: scene.world, client, value, a, b, c, d, e };
}

/** The requests of a node by this name are lost. Gives how to end that. */
function silence({ world }: Scene, i: number, name: string): () => void {
  const address = world.address(i);
  const rule = (from: string, _to: string, kind: string, what: string) =>
    from === address && kind === "request" && what === name ? [] : undefined;
  world.conditions.rules.push(rule);
  return () => void world.conditions.rules.splice(world.conditions.rules.indexOf(rule), 1);
}

test("two of three nodes are lost: nothing is served until an operator orders to go on with the last", async () => {
  const scene = await Scene.open({ nodes: 3 });
  const { world } = scene;
  const client = scene.client("c");
  const value = await putOk(scene, client, 0);
  await world.clock.runFor(2_000);
  const loss = { scene, lost: lose(scene, 0, 1) };
  await world.clock.runFor(20_000);
  await expect(order({ scene, lost: loss.lost.slice(1) })).rejects.toThrow("not said to be lost");
  await comesBack(loss, client, value, 2);
  // Two new nodes make it three again.
  const added = [world.addNode(), world.addNode()];
  await scene.run(Promise.all(added.map((i) => world.restart(i))));
  await world.clock.runFor(90_000);
  for (let slice = 0; slice < 16; slice++) {
    const { members } = world.node(2).index.view(slice as typeof scene.slice);
    expect(new Set(members.map((id) => world.numberOf(id))), `slice ${slice}`).toEqual(
      new Set([2, 3, 4]),
    );
  }
  expect(await scene.readEverywhere()).not.toContain("no answer");
});

// D replaces C: what it would start from is on A, and on B or C, whom nobody will see again.
test("a majority is lost while a member is replaced", async () => {
  const { scene, world, client, value, a, b, c, d, e } = await parts(5);
  const heal = silence(scene, d, "index.seal");
  world.wantView(scene.slice, [a, b, d]);
  await world.clock.run(() => scene.view(d).epoch === 2, { deadlineMs: world.clock.now + 10_000 });
  const lost = lose(scene, b, c);
  heal();
  await comesBack({ scene, lost }, client, value, a);
  expect((await scene.voting()).has(d)).toBe(false);
  await scene.changeView([a, d, e]);
});

// A was away while D replaced C, so that C gave its copy up. D and B are lost, A is back, and C has nothing.
test("who was told to give up a copy counts for nothing", async () => {
  const { scene, world, client, value, a, b, c, d } = await parts(5);
  world.crash(a);
  world.wantView(scene.slice, [d, a, b]);
  const left = async (): Promise<boolean> => (await scene.voting()).get(d) === 2;
  for (let tries = 0; !(await left()) && tries < 100; tries++) await world.clock.runFor(200);
  await world.clock.runFor(10_000);
  const lost = lose(scene, b, d);
  await scene.run(world.restart(a));
  expect(world.up()).toContain(c);
  await comesBack({ scene, lost }, client, value, a);
});

test("a later view that only a node knows which is not up, and not said to be lost, is not cut off", async () => {
  const { scene, world, a, b, c, d } = await parts(5);
  world.crash(a);
  world.wantView(scene.slice, [b, c, d]);
  const joined = async (): Promise<boolean> => (await scene.voting()).get(d) === 2;
  for (let tries = 0; !(await joined()) && tries < 100; tries++) await world.clock.runFor(200);
  world.crash(d);
  const lost = lose(scene, b, c);
  await scene.run(world.restart(a));
  await world.clock.runFor(20_000);
  await expect(order({ scene, lost })).rejects.toThrow(`no answer from ${world.id(d)}`);
});

// D votes until others have taken its place: with A it is a majority, which may have what A alone has not.
test("a node that is leaving counts as there", async () => {
  const { scene, world, a, b, c } = await parts(5);
  await scene.run(world.node(c).route!.leave());
  const lost = lose(scene, b);
  const before = scene.view(a);
  expect(before.members).toContain(c);
  await order({ scene, lost });
  expect(scene.view(a).epoch).toBeLessThan(65_536);
  await world.clock.runFor(30_000);
  expect(scene.view(a).epoch).toBeLessThan(65_536);
  expect(await scene.readEverywhere()).not.toContain("no answer");
  expect(scene.problems()).toEqual([]);
});

test("a slice of which nobody is left begins anew when that is ordered, and not before", async () => {
  const { scene, world, client, a, b, c, d, e } = await parts(5);
  const loss = { scene, lost: lose(scene, a, b, c) };
  await world.clock.runFor(20_000);
  const without = await order(loss);
  expect(without.unheld).toBeGreaterThan(0);
  await world.clock.runFor(5_000);
  expect(await scene.run(client.get(KEY, { at: d }))).toBeUndefined();
  const allowed = await order(loss, true);
  expect(allowed).toEqual({ slices: without.unheld, blocked: 0, unheld: 0 });
  await world.clock.runFor(5_000);
  expect(await order(loss, true)).toEqual({ slices: 0, blocked: 0, unheld: 0 });
  for (let slice = 0; slice < 16; slice++) {
    const [one, other] = [d, e].map((i) => world.node(i).index.view(slice as typeof scene.slice));
    expect([one!.epoch, one!.members], `slice ${slice}`).toEqual([other!.epoch, other!.members]);
  }
  // Its bucket may be among what is gone.
  const wanted = { name: "again", owner: "sim", requestId: parseRequestId("a".repeat(32)) };
  const again = await scene.run(world.at(d, (object) => object.createBucket(wanted)));
  const after = new Client("after", world, scene.history, again, {
    attempts: 1,
    attemptMs: 30_000,
  });
  const written = await putOk(scene, after, d, "new");
  expect(await scene.run(after.get("new", { at: e }))).toEqual({ value: written });
  expect(world.views.problems()).toEqual([]);
});

// One voter becomes three, and dies before the others are any.
test("who was about to join goes on with what it has copied, when that is ordered", async () => {
  const scene = await Scene.open({ nodes: 1, copies: 3 });
  const { world } = scene;
  const client = scene.client("c");
  const value = await putOk(scene, client, 0);
  const added = [world.addNode(), world.addNode()];
  const heals = [1, 2].map((i) => silence(scene, i, "index.seal"));
  await scene.run(Promise.all(added.map((i) => world.restart(i))));
  await world.clock.run(() => scene.view(1).epoch === 2 && scene.view(2).epoch === 2, {
    deadlineMs: world.clock.now + 200_000,
  });
  const loss = { scene, lost: lose(scene, 0) };
  for (const heal of heals) heal();
  await world.clock.runFor(20_000);
  expect(await order(loss)).toMatchObject({ slices: 0, blocked: 0 });
  expect((await order(loss, true)).slices).toBeGreaterThan(0);
  await world.clock.runFor(5_000);
  expect(await scene.run(client.get(KEY, { at: 2 }))).toEqual({ value });
  await putOk(scene, client, 1);
  expect(scene.history.violations()).toEqual([]);
});
