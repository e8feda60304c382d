// Changes of a slice's view while leaders are cut off, die, or compete.
import { expect, test } from "vitest";
import { type IndexFaults } from "../../../node/index/faults.ts";
import { encodeState, NO_STATE } from "../../../node/index/register-state.ts";
import { encodeRow, registerRow } from "../../../node/index/rows.ts";
import { registerKey } from "../../../node/index/types.ts";
import { type BucketId } from "../../../shared/ids.ts";
import { syncRowsMax } from "../../../shared/limits.ts";
import { makeBallot, makeVersion } from "../../../shared/versions.ts";
import { KEY, putOk, Scene } from "../scene.ts";

interface Opening {
  readonly seed?: number;
  /** More registers in the key's slice. */
  readonly registers?: number;
  readonly syncMs?: number;
  readonly faults?: IndexFaults | undefined;
}

/** Seven nodes, three of which vote: the leader, the two others of its view, and who is to follow them. */
async function open({ seed = 1, registers = 0, syncMs = 0, faults }: Opening = {}) {
  const scene = await Scene.open({ nodes: 7, seed, syncMs, ...(faults && { faults }) });
  const client = scene.client("c");
  const value = await putOk(scene, client, 0);
  if (registers > 0) await fill(scene, registers);
  const leader = await scene.leader();
  const old = scene.view(leader).members;
  const [b, c] = old.filter((i) => i !== leader);
  const [d, e, f, g] = scene.others(leader).filter((i) => !old.includes(i));
  return {
    scene,
    world: scene.world,
    client,
    value,
    a: leader,
    b: b!,
    c: c!,
    old,
    d: d!,
    e: e!,
    f: f!,
    g: g!,
  };
}

/** Gives the voters of the key's slice more registers, all of them absent. */
async function fill(scene: Scene, registers: number): Promise<void> {
  const { world, slice } = scene;
  const { members } = scene.view(await scene.leader());
  const ballot = makeBallot(1, 1, world.machines[members[0]!]!.voter!);
  const writes = Array.from({ length: registers }, (_, n) => ({
    key: registerRow(slice, registerKey("object", "f".repeat(32) as BucketId, `key ${n}`)),
    value: encodeRow(makeVersion(ballot, n + 1), encodeState(NO_STATE)),
  }));
  for (const i of members) world.crash(i);
  for (const i of members) world.machines[i]!.disk.apply(writes);
  for (const i of members) await world.restart(i);
}

const cutAll = ({ world }: Scene, a: readonly number[], b: readonly number[]): (() => void) =>
  world.conditions.cut(world.addresses(a), world.addresses(b));

// A and B know nothing of the view that C, who is cut from them later, helped to decide: both sides have clients, and
// both sides have nodes that believe the key is theirs.
test("two nodes that believe they own a key never both serve it", async () => {
  const { scene, world, client, value, a, b, c, d, e, f, g } = await open();
  const heal = cutAll(scene, [a], [b, c, d, e, f, g]);
  const lost = client.put(KEY, 50, { at: a });
  await putOk(scene, client, b);
  await scene.changeView([d, e, f]);
  const v2 = await putOk(scene, client, d);
  expect(scene.view(a)).toMatchObject({ epoch: 1 });
  const [oldWrite, oldRead] = [client.put(KEY, 50, { at: a }), client.get(KEY, { at: a })];
  const [newWrite, newRead] = [client.put(KEY, 50, { at: e }), client.get(KEY, { at: f })];
  expect(await scene.run(oldRead)).toBeUndefined();
  expect((await scene.run(oldWrite)).outcome).toBe("unknown");
  expect((await scene.run(lost)).outcome).toBe("unknown");
  const v3 = await scene.run(newWrite);
  expect(v3.outcome).toBe("ok");
  expect([v2, v3.value]).toContain((await scene.run(newRead))?.value);
  heal();
  await world.clock.runFor(40_000);
  expect(new Set(await scene.readEverywhere()).size).toBe(1);
  expect(await scene.readEverywhere()).not.toContain(value);
  expect(scene.problems()).toEqual([]);
});

// A is cut from all but G, whose clients it is near to. G asks it first, and never takes its word.
test("an isolated leader of the view before that some still reach serves nobody", async () => {
  const { scene, world, client, a, b, c, d, e, f, g } = await open();
  const heal = cutAll(scene, [a], [b, c, d, e, f]);
  await putOk(scene, client, b);
  await scene.changeView([d, e, f]);
  for (let n = 0; n < 5; n++) {
    const value = await putOk(scene, client, d);
    expect(await scene.run(client.get(KEY, { at: g }))).toEqual({ value });
    await putOk(scene, client, g);
  }
  heal();
  await world.clock.runFor(20_000);
  expect(new Set(await scene.readEverywhere()).size).toBe(1);
  expect(scene.problems()).toEqual([]);
});

// What is decided is on A, B and C; only A was to tell D, E and F.
test("a leader that dies before INSTALL leaves the change to those who know of it", async () => {
  const { scene, world, client, value, a, d, e, f } = await open();
  const address = world.address(a);
  world.conditions.rules.push((from, _to, kind, name) =>
    from === address && kind === "request" && name === "index.install" ? [] : undefined,
  );
  world.wantView(scene.slice, [d, e, f]);
  await world.clock.run(
    () => world.log.some(({ node, event }) => node === a && event === "View changes"),
    {
      deadlineMs: world.clock.now + 10_000,
    },
  );
  world.crash(a);
  world.conditions.rules.length = 0;
  await world.clock.runFor(15_000);
  expect(new Set((await scene.voting()).keys())).toEqual(new Set([d, e, f]));
  expect(await scene.run(client.get(KEY, { at: d }))).toEqual({ value });
  await world.restart(a);
  await world.clock.runFor(10_000);
  expect((await scene.voting()).has(a)).toBe(false);
  expect(scene.problems()).toEqual([]);
});

// Both believe to lead, and want other views. The one that a majority follows gets its own.
test("two leaders that want different views end with one", async () => {
  const { scene, world, client, a, b, c, d, e, f, g } = await open();
  const heals = [cutAll(scene, [a, d, e], [b, f, g]), cutAll(scene, [a], [c])];
  const value = await putOk(scene, client, b);
  world.wantView(scene.slice, [a, d, e], [a]);
  world.wantView(scene.slice, [b, f, g], [b, c, f, g]);
  await world.clock.runFor(15_000);
  expect([...(await scene.voting())].filter(([, epoch]) => epoch === 2).map(([i]) => i)).toEqual(
    [b, f, g].toSorted((x, y) => x - y),
  );
  for (const heal of heals) heal();
  await world.clock.runFor(40_000);
  expect(new Set(await scene.readEverywhere())).toEqual(new Set([value]));
  expect(scene.problems()).toEqual([]);
});

// D has heard what it is to start from, and its disk takes seconds to say so. What is written meanwhile passes it by: it
// does not vote yet, so whoever is told that it missed something tells nobody.
test.each([true, false])(
  "a member that is late into a view learns what it missed (plain: %s)",
  async (plain) => {
    const faults = plain ? { noHandover: true } : undefined;
    const { scene, world, client, a, b, d } = await open({ faults, syncMs: 1 });
    let fired = false;
    world.onNext(d, "index.seal reply", () => {
      fired = true;
      world.slowDisk(d, 3_000);
    });
    world.wantView(scene.slice, [a, b, d]);
    while (!fired) await world.clock.runFor(1);
    for (let n = 0; n < 3; n++) await putOk(scene, client, b);
    expect((await scene.voting()).has(d)).toBe(false);
    world.slowDisk(d, 1);
    await world.clock.runFor(30_000);
    expect(new Set((await scene.voting()).keys())).toEqual(new Set([a, b, d]));
    const digests = [a, b, d].map((i) => scene.run(world.node(i).index.digests()));
    const held = (await Promise.all(digests)).map((all) => all.get(scene.slice));
    expect(new Set(held).size).toBe(1);
    expect(scene.problems()).toEqual([]);
  },
);

test("a leader that dies once its successor leads: who left the view hears of it all the same", async () => {
  const { scene, world, client, a, b, c, d } = await open();
  let fired = false;
  world.onNext(a, "index.lead reply", () => {
    fired = true;
    world.crash(a);
  });
  world.wantView(scene.slice, [d, a, b]);
  while (!fired) await world.clock.runFor(1);
  expect((await scene.voting()).get(c)).toBe(1);
  await putOk(scene, client, d);
  await world.clock.runFor(15_000);
  expect((await scene.voting()).has(c)).toBe(false);
  expect(scene.problems()).toEqual([]);
});

const STEPS = ["precopy", "accept", "install", "seal", "snapshot", "fetch"] as const;
const HANDOVER_STEPS = [...STEPS, "enter", "join", "confirm", "lead"] as const;

// R1 is an ACCEPT of the decision, R2 INSTALL, R3 SEAL, SNAPSHOT and FETCH, before it all the bulk copy; R4 and R5 follow
// from INSTALL's replies. Whoever dies in one of them, for seconds: nothing is lost and the change ends.
test.each(STEPS)("a crash in %s, on either side of it, before it or after it", (step) =>
  crashIn(step, { noHandover: true }),
);

// The same while the leader hands over: to another one, for the newcomer is to lead.
test.each(HANDOVER_STEPS)("a crash in %s while the lead is handed over", (step) => crashIn(step));

async function crashIn(step: string, faults?: IndexFaults): Promise<void> {
  let crashed = 0;
  for (const name of [`index.${step}`, `index.${step} reply`]) {
    for (const role of ["a", "b", "d"] as const) {
      // The first page of a slice comes with what is told of a change; others are asked for.
      const registers = step === "snapshot" ? syncRowsMax + 1 : 0;
      const scenery = await open({ seed: 20 + crashed, registers, faults });
      const { scene, world, client, value, a, d, e } = scenery;
      const victim = scenery[role];
      let fired = false;
      world.onNext(victim, name, () => {
        fired = true;
        world.clock.after(crashed % 2 === 0 ? 0 : 2, () => world.crash(victim));
      });
      world.wantView(scene.slice, [d, e, a]);
      const during = client.put(KEY, 50, { at: scenery.g });
      await world.clock.runFor(4_000);
      if (!fired) continue; // this side takes no part in the step
      crashed++;
      await world.restart(victim);
      await scene.changeView([d, e, a]);
      const { value: next, outcome } = await scene.run(during);
      const [read, ...others] = await scene.readEverywhere();
      expect(new Set(others), `${name} at ${role}`).toEqual(new Set([read]));
      expect(outcome === "ok" ? [next] : [value, next]).toContain(read);
      await putOk(scene, client, victim);
      expect(scene.problems(), `${name} at ${role}`).toEqual([]);
    }
  }
  expect(crashed, "sides that died").toBeGreaterThanOrEqual(2);
}
