// Views while nodes come, go, come back, and are written to.
import { expect, test } from "vitest";
import { registerRow, registerRowsEnd } from "../../../node/index/rows.ts";
import { type Slice } from "../../../shared/slices.ts";
import { KEY, keysOfSlice, putOk, Scene } from "../scene.ts";

const SLICES = 16; // of a simulated cluster

/** Members of every slice as those who vote in it have it, with the newest epoch. */
async function views({ world }: Scene): Promise<Map<number, { epoch: number; members: number[] }>> {
  const found = new Map<number, { epoch: number; members: number[] }>();
  for (const i of world.up()) {
    for (const slice of (await world.clock.settle(world.node(i).index.digests())).keys()) {
      const { epoch, members } = world.node(i).index.view(slice as Slice);
      if ((found.get(slice)?.epoch ?? 0) >= epoch) continue;
      found.set(slice, { epoch, members: members.map((id) => world.numberOf(id)) });
    }
  }
  return found;
}

/** Puts all of these, 20 at a time. Gives the ETags. */
async function putAll(
  scene: Scene,
  keys: readonly string[],
  at: number,
): Promise<Map<string, string>> {
  const client = scene.client("filler");
  const values = new Map<string, string>();
  for (let n = 0; n < keys.length; n += 20) {
    const part = keys.slice(n, n + 20);
    const put = await scene.run(Promise.all(part.map((key) => client.put(key, 50, { at }))));
    part.forEach((key, i) => {
      expect(put[i]!.outcome).toBe("ok");
      values.set(key, put[i]!.value);
    });
  }
  return values;
}

test("who leaves a view hears once that it is settled, asks nobody, and keeps nothing", async () => {
  const scene = await Scene.open({ nodes: 6 });
  const { world, slice } = scene;
  await putOk(scene, scene.client("c"), 0);
  const leader = await scene.leader();
  const old = scene.view(leader).members;
  const leavers = old.filter((i) => i !== leader);
  const installs: string[] = [];
  world.conditions.rules.push((from, to, kind, name) => {
    if (kind === "request" && name === "index.install") installs.push(`${from} ${to}`);
    return undefined;
  });
  const others = scene.others(leader).filter((i) => !old.includes(i));
  await scene.changeView([leader, ...others.slice(0, 2)]);
  await world.clock.runFor(3_000);
  for (const i of leavers) {
    const address = world.address(i);
    expect(installs.filter((each) => each.endsWith(` ${address}`))).toHaveLength(1);
    expect(installs.filter((each) => each.startsWith(`${address} `))).toEqual([]);
    const rows = world.machines[i]!.disk.rows({
      from: registerRow(slice, ""),
      to: registerRowsEnd(slice),
      limit: 10,
    });
    expect(rows).toEqual([]);
  }
  expect(scene.problems()).toEqual([]);
});

// None of the old members is a new one: everything is carried over, 200 registers and what is written meanwhile.
test("a view moves to three other nodes under write load, with its bulk copied before", async () => {
  const scene = await Scene.open({ nodes: 6, syncMs: 1 });
  const { world } = scene;
  const keys = keysOfSlice(scene, 200);
  const values = await putAll(scene, keys, 0);
  const leader = await scene.leader();
  const old = scene.view(leader).members;
  const next = scene.others(leader).filter((i) => !old.includes(i));
  let changed = false;
  const gapsMs: number[] = [];
  const writer = async (name: string, n: number): Promise<void> => {
    const client = scene.client(name);
    for (let k = n; !changed; k = (k + 7) % keys.length) {
      const begunMs = world.clock.now;
      const { value, outcome } = await client.put(keys[k]!, 50, { at: next[n % 3]! });
      gapsMs.push(world.clock.now - begunMs);
      expect(outcome).toBe("ok");
      values.set(keys[k]!, value);
    }
  };
  // Each writes keys of its own: 7 steps over 200 keys meet no other's for the time of the change.
  const writers = [writer("w0", 0), writer("w1", 1), writer("w2", 2)];
  await scene.changeView(next);
  changed = true;
  await scene.run(Promise.all(writers));
  for (const i of old) world.crash(i);
  const reader = scene.client("reader");
  for (const key of keys) {
    const read = await scene.run(reader.get(key, { at: next[0]! }));
    expect(read?.value, key).toBeDefined();
  }
  expect(gapsMs.length).toBeGreaterThan(50);
  expect(Math.max(...gapsMs), "longest write in ms").toBeLessThan(1_000);
  expect(scene.problems()).toEqual([]);
});

// G was away for ten changes, in none of whose members' names it can still ask those it knew.
test("a coordinator that slept through ten views finds the slice", async () => {
  const scene = await Scene.open({ nodes: 8 });
  const { world } = scene;
  const client = scene.client("c");
  await putOk(scene, client, 0);
  const leader = await scene.leader();
  const first = scene.view(leader).members;
  const [sleeper, ...awake] = scene.others(leader).filter((i) => !first.includes(i));
  for (const how of ["pause", "crash"] as const) {
    if (how === "pause") world.pause(sleeper!);
    else world.crash(sleeper!);
    const ring = [...first, ...awake];
    const before = scene.view(leader).epoch;
    for (let n = 1; n <= 10; n++) {
      await scene.changeView([0, 1, 2].map((k) => ring[(n * 3 + k) % ring.length]!));
    }
    const epochs = [...(await scene.voting()).values()];
    expect(Math.max(...epochs)).toBeGreaterThanOrEqual(before + 10);
    const value = await putOk(scene, client, awake[0]!);
    if (how === "pause") world.resume(sleeper!);
    else await world.restart(sleeper!);
    expect(await scene.run(client.get(KEY, { at: sleeper! }))).toEqual({ value });
    await putOk(scene, client, sleeper!);
  }
  expect(scene.problems()).toEqual([]);
});

// A node that is gone for less than a minute keeps its places: moving its registers would cost more than it mends.
test("a node that comes and goes within the hysteresis changes no view", async () => {
  const scene = await Scene.open({ nodes: 5 });
  const { world } = scene;
  for (let n = 0; n < 6; n++) {
    world.crash(2);
    await world.clock.runFor(30_000);
    await world.restart(2);
    await world.clock.runFor(10_000);
  }
  const now = await views(scene);
  expect(now.size).toBe(SLICES);
  for (const [slice, { epoch }] of now) expect(epoch, `slice ${slice}`).toBe(1);
  expect(scene.problems()).toEqual([]);
});

test("three of ten nodes that leave together hand over all they held, while clients work", async () => {
  const scene = await Scene.open({ nodes: 10 });
  const { world } = scene;
  const client = scene.client("c");
  const keys = Array.from({ length: 60 }, (_, i) => `k${i}`);
  await putAll(scene, keys, 0);
  const leavers = [3, 4, 5]; // neighbours: they share slices
  const leaving = Promise.all(leavers.map((i) => world.node(i).route!.leave()));
  for (let n = 0; n < 20; n++) await putOk(scene, client, n % 3, keys[n]);
  await scene.run(leaving);
  await world.clock.runFor(30_000);
  for (const [slice, { members }] of await views(scene)) {
    expect(members, `slice ${slice}`).toHaveLength(3);
    for (const i of leavers) expect(members, `slice ${slice}`).not.toContain(i);
  }
  for (const i of leavers) await scene.run(world.machines[i]!.leave());
  for (const key of keys) {
    expect((await scene.run(client.get(key, { at: 0 })))?.value, key).toBeDefined();
  }
  expect(scene.problems()).toEqual([]);
});

// Its folder is gone, and with it what it promised. It comes as somebody else, who gets the places of the one it was.
test("a wiped disk rejoins as a new node, and votes only as that", async () => {
  const scene = await Scene.open({ nodes: 4, joinAfterMs: 2_000, repairAfterMs: 2_000 });
  const { world } = scene;
  const value = await putOk(scene, scene.client("c"), 0);
  const leader = await scene.leader();
  const [wiped] = scene.view(leader).members.filter((i) => i !== leader);
  const { voter } = world.machines[wiped!]!;
  world.machines[wiped!]!.wipe();
  const added = world.addNode();
  await scene.run(world.restart(added));
  await world.clock.runFor(60_000);
  expect(world.machines[added]!.voter).not.toBe(voter);
  for (const [slice, { members }] of await views(scene)) {
    expect(members, `slice ${slice}`).toHaveLength(3);
    expect(members, `slice ${slice}`).not.toContain(wiped);
  }
  expect(new Set(await scene.readEverywhere())).toEqual(new Set([value]));
  expect(scene.problems()).toEqual([]);
});

// The copy says "active in view 1". Its companions of then are sealed: alone it decides nothing and tells nobody. (A
// copy that is older than its view's last write is another matter, and must not start: see the mutations.)
test("a backup of a member of a view long past harms nobody when it is put back", async () => {
  const scene = await Scene.open({ nodes: 7 });
  const { world } = scene;
  const client = scene.client("c");
  await putOk(scene, client, 0);
  const leader = await scene.leader();
  const old = scene.view(leader).members;
  const others = scene.others(leader).filter((i) => !old.includes(i));
  const { disk } = world.machines[leader]!;
  const backup = disk.rows({ from: "", to: "\u{10ffff}", limit: Infinity });
  await scene.changeView(others.slice(0, 3));
  const value = await putOk(scene, client, others[0]!);
  world.machines[leader]!.wipe({ mayStart: true });
  disk.apply(backup);
  await world.restart(leader);
  expect(await scene.run(client.get(KEY, { at: leader }))).toEqual({ value });
  await putOk(scene, client, leader);
  await world.clock.runFor(20_000);
  expect((await scene.voting()).has(leader)).toBe(false);
  expect(scene.problems()).toEqual([]);
});

// Two of a view's three voters are lost. The one that is left answers nobody, and no other view can be made.
test("f + 1 losses of a view stop its slice, whatever nodes there still are", async () => {
  const scene = await Scene.open({ nodes: 6, joinAfterMs: 2_000, repairAfterMs: 2_000 });
  const { world } = scene;
  const client = scene.client("c");
  await putOk(scene, client, 0);
  const leader = await scene.leader();
  const { members } = scene.view(leader);
  const [left, ...lost] = members.toReversed();
  for (const i of lost) world.machines[i]!.wipe();
  await world.clock.runFor(60_000);
  for (const at of world.up()) {
    expect(await scene.run(client.get(KEY, { at })), `node ${at}`).toBeUndefined();
  }
  expect((await scene.run(client.put(KEY, 50, { at: left! }))).outcome).toBe("unknown");
  expect((await scene.voting()).get(left!)).toBe(1);
  expect(scene.problems()).toEqual([]);
});

// B and C wait for A and D to become active in the second view. A is lost, D never will be: the third view is there.
// Their sealed copies must not be kept for ever, nor keep them out of the slice (seeds 500159 and 983287270).
test("those sealed for a view that was overtaken are let go, and may come back", async () => {
  const scene = await Scene.open({ nodes: 6 });
  const { world, slice } = scene;
  const client = scene.client("c");
  await putOk(scene, client, 0);
  const a = await scene.leader();
  const old = scene.view(a).members;
  const [b, c] = old.filter((i) => i !== a);
  const [d, e, f] = scene.others(a).filter((i) => !old.includes(i));
  const until = (reached: () => boolean): Promise<void> =>
    world.clock.run(reached, { deadlineMs: world.clock.now + 5_000 });
  const leads = (epoch: number): boolean =>
    scene.view(e!).epoch === epoch && scene.view(a).epoch === epoch && scene.leads(a);
  // D hears of the second view, and gathers nothing.
  world.conditions.rules.push((from, _to, kind, name) =>
    kind === "request" && from === world.address(d!) && name === "index.seal" ? [] : undefined,
  );
  world.wantView(slice, [a, d!, e!]);
  await until(() => leads(2));
  // B and C hear of no third one.
  const late = world.addresses([b!, c!]);
  world.conditions.rules.push((_from, to, kind, name) =>
    kind === "request" && late.includes(to) && name === "index.install" ? [] : undefined,
  );
  world.wantView(slice, [a, f!, e!]);
  await until(() => leads(3) && scene.view(f!).epoch === 3);
  world.machines[a]!.wipe();
  world.conditions.rules.length = 0;
  await world.clock.runFor(20_000);
  await scene.changeView([b!, e!, f!]);
  await putOk(scene, client, c!);
  expect(scene.problems()).toEqual([]);
});

// It is not told that it left the view. When it is back it must not keep a copy of a view long past, for ever, whether
// those who can tell it of the next are there or gone for good (seeds 2000063 and 2000872).
for (const companions of ["there", "gone"] as const) {
  test(`a node that counted as dead learns which views it left, with its companions ${companions}`, async () => {
    const scene = await Scene.open({ nodes: 10 });
    const { world } = scene;
    await putOk(scene, scene.client("c"), 0);
    const leader = await scene.leader();
    const old = scene.view(leader).members;
    const away = old.find((i) => i !== leader)!;
    scene.isolate(away);
    const countsAsDead = (): boolean =>
      scene.others(away).every((i) => world.node(i).route!.find(world.id(away))?.state === "dead");
    await world.clock.run(countsAsDead, { deadlineMs: world.clock.now + 30_000 });
    await scene.changeView(
      scene
        .others(away)
        .filter((i) => !old.includes(i))
        .slice(0, 3),
    );
    expect((await scene.voting()).get(away)).toBe(1);
    if (companions === "gone") for (const i of old) if (i !== away) world.machines[i]!.wipe();
    await world.heal();
    await world.clock.runFor(20_000);
    expect((await scene.voting()).has(away)).toBe(false);
    expect(scene.problems()).toEqual([]);
  });
}
