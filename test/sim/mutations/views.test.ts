// Breaks one rule at a time and shows that the checks see it; with the rule whole, the same schedule keeps every
// promise. What no test notices when it is broken is not tested. Here: changes of views.
import { expect, test } from "vitest";
import { type IndexFaults } from "../../../node/index/faults.ts";
import { registerRow } from "../../../node/index/rows.ts";
import { registerKey } from "../../../node/index/types.ts";
import { KEY, openWithLeader, putOk, type Scene } from "../scene.ts";
import { type MemberName, openBench, type SliceBench } from "../slice-bench.ts";

/** What became of the operations, in the order of their calls. */
const outcomes = (bench: SliceBench): string[] =>
  bench.history.of("x").map(({ outcome }) => outcome.kind);

/**
 * D, E and F took over from A, B and C and changed the value. B and C were asked for what they hold, but nobody told
 * them of the new view: a reader that does not know of it either asks them.
 */
async function oldViewGoesOn(faults: IndexFaults): Promise<string[]> {
  const { bench, leader, v0 } = await openBench(faults);
  const change = await bench.run(bench.decide(leader, ["D", "E", "F"]));
  await bench.installAll(change, ["D", "E", "F"]);
  expect(bench.active()).toMatchObject({ D: 2, E: 2, F: 2 });
  const d = await bench.elect("D", 1, ["D", "E", "F"]);
  bench.put(d, { ifMatch: v0 });
  await bench.settle();
  await Promise.race([bench.readFast("G"), bench.clock.runFor(500)]);
  expect(outcomes(bench).slice(0, 2)).toEqual(["ok", "ok"]);
  return bench.history.violations();
}

test("a directed schedule finds members that vote on after SEAL", async () => {
  expect(await oldViewGoesOn({})).toEqual([]);
  expect(await oldViewGoesOn({ noSeal: true })).not.toEqual([]);
});

/** v1 is on A and B. D and E, who join, reach C first, and A or B only later. */
async function snapshotOfOneMember(faults: IndexFaults): Promise<string[]> {
  const { bench, leader, v0 } = await openBench(faults);
  bench.fate = (_call, from, to) => (from !== to && to === "C" ? "lose" : "pass");
  bench.put(leader, { ifMatch: v0 });
  await bench.settle();
  const change = await bench.run(bench.decide(leader, ["D", "E", "F"]));
  bench.fate = (call, _from, to) => (call === "seal" && to !== "C" ? "hold" : "pass");
  await bench.installAll(change, ["D", "E"]);
  for (const joiner of ["D", "E"] as const)
    for (const member of ["A", "B"] as const) await bench.release("seal", joiner, member);
  bench.fate = () => "pass";
  await bench.clock.runFor(5_000);
  expect(bench.active()).toMatchObject({ D: 2, E: 2 });
  const d = await bench.elect("D", 1, ["D", "E"]);
  bench.read(d);
  await bench.clock.runFor(1_000);
  expect(outcomes(bench)).toEqual(["ok", "ok", "ok"]);
  return bench.history.violations();
}

test("a directed schedule finds a view that starts from one sealed member", async () => {
  expect(await snapshotOfOneMember({})).toEqual([]);
  expect(await snapshotOfOneMember({ singleSnapshot: true })).not.toEqual([]);
});

/**
 * v1 is on A alone, v2 on B alone; both were written against v0, so that one of them at most may ever be seen. X and Z
 * start from A and C, Y from B and A: X and Z agree on v1, of the view before. A reader believes them; the next leader,
 * elected with Y, finds v2, which is newer.
 */
async function agreementOnAnOldVersion(faults: IndexFaults): Promise<string[]> {
  const { bench, leader, v0 } = await openBench(faults);
  const onlyTo = (name: MemberName) => (call: string, _from: MemberName, to: MemberName) =>
    call === "accept" && to !== name ? "lose" : "pass";
  bench.fate = onlyTo("A");
  bench.put(leader, { ifMatch: v0 });
  await bench.settle();
  const b = await bench.elect("B", 2, ["B", "C"]);
  const between = (from: MemberName, to: MemberName) => [from, to].includes("A") && from !== to;
  bench.fate = (call, from, to) => (between(from, to) ? "lose" : onlyTo("B")(call, from, to));
  bench.put(b, { ifMatch: v0 });
  await bench.settle();
  const c = await bench.elect("C", 3, ["B", "C"]);
  bench.fate = (_call, from, to) => (between(from, to) ? "lose" : "pass");
  const change = await bench.run(bench.decide(c, ["D", "E", "F"]));
  const [x, y, z] = ["D", "E", "F"] as const;
  bench.fate = (_call, from, to) => {
    if (from === x || from === z) return to === "A" || to === "C" ? "pass" : "lose";
    return from === y && (to === "A" || to === "B") ? "pass" : "lose";
  };
  await bench.installAll(change, [x, y, z]);
  expect(bench.active()).toMatchObject({ D: 2, E: 2, F: 2 });
  const [v1, v2] = [bench.held(x), bench.held(y)];
  expect([v1, v2]).not.toContain(v0);
  expect(bench.held(z)).toBe(v1);
  bench.fate = (_call, _from, to) => (to === y ? "lose" : "pass");
  await Promise.race([bench.readFast(x, change.view), bench.clock.runFor(500)]);
  bench.fate = () => "pass";
  const next = await bench.elect(y, 1, [x, y]);
  bench.fate = (_call, _from, to) => (to === z ? "lose" : "pass");
  bench.read(next);
  await bench.clock.runFor(1_000);
  expect(outcomes(bench).at(-1)).toBe("ok");
  return bench.history.violations();
}

test("a directed schedule finds a fast read that believes in a version of an older view", async () => {
  expect(await agreementOnAnOldVersion({})).toEqual([]);
  expect(await agreementOnAnOldVersion({ crossEpochFastRead: true })).not.toEqual([]);
});

/** Addresses between which no message passes any more. */
function cut({ world }: Scene, a: readonly number[], b: readonly number[]): void {
  world.conditions.cut(world.addresses(a), world.addresses(b));
}

/**
 * A leads, and is cut from B and C, who elect B. Each changes the view, and all who are to join reach C: whoever asks
 * it first, two groups would go on with the slice by themselves.
 */
async function twoLeadersTwoViews(faults: IndexFaults): Promise<string[]> {
  const { scene, world, client, leader: a, others } = await openWithLeader({ nodes: 7, faults });
  const [b, c] = scene.view(a).members.filter((i) => i !== a);
  const [d, e, f, g] = others.filter((i) => i !== b && i !== c);
  cut(scene, [a, d!, e!], [b!, f!, g!]);
  cut(scene, [a], [c!]);
  await putOk(scene, client, b!);
  world.wantView(scene.slice, [a, d!, e!], [a]);
  world.wantView(scene.slice, [b!, f!, g!], [b!, c!]);
  await world.clock.runFor(15_000);
  for (const at of [d!, f!]) await scene.run(client.put(KEY, 50, { at }));
  for (const at of [e!, g!]) await scene.run(client.get(KEY, { at }));
  return scene.problems();
}

test("a directed schedule finds a view that no majority decided", async () => {
  expect(await twoLeadersTwoViews({})).toEqual([]);
  const found = await twoLeadersTwoViews({ undecidedView: true });
  expect(found.join("\n")).toContain("has two views");
  expect(found.some((problem) => problem.startsWith("key"))).toBe(true);
});

/**
 * D, E and F have copied all in bulk when one more value is acknowledged. Then the view changes, and what they ask of
 * A, B and C is lost for ten seconds. Gives the fewest disks that held that value at any moment.
 */
async function fewestCopies(faults: IndexFaults): Promise<number> {
  const { scene, world, client, leader, others } = await openWithLeader({ nodes: 6, faults });
  const { members } = scene.view(leader);
  const next = others.filter((i) => !members.includes(i));
  world.conditions.rules.push((_from, _to, kind, name) => {
    if (name === "index.precopy") return kind === "reply" ? [900] : undefined;
    return name === "index.seal" && kind === "request" ? [] : undefined;
  });
  let copied = 0;
  for (const i of next) world.onNext(i, "index.precopy", () => copied++);
  world.wantView(scene.slice, next);
  await world.clock.run(() => copied === next.length, { deadlineMs: world.clock.now + 5_000 });
  await world.clock.runFor(500);
  const value = await putOk(scene, client, leader);
  expect(scene.view(leader).epoch).toBe(1);
  const row = registerRow(scene.slice, registerKey("object", scene.bucket.id, KEY));
  const copies = (): number =>
    world.machines.filter(({ disk }) => new TextDecoder().decode(disk.row(row)).includes(value))
      .length;
  let fewest = copies();
  for (let seconds = 0; seconds < 30; seconds++) {
    if (seconds === 10) world.conditions.rules.length = 0;
    await world.clock.runFor(1_000);
    fewest = Math.min(fewest, copies());
  }
  return fewest;
}

test("a directed schedule finds members that delete what others have not taken over", async () => {
  expect(await fewestCopies({})).toBeGreaterThanOrEqual(2);
  expect(await fewestCopies({ earlyGarbage: true })).toBe(0);
});

/** The leader of a view leads it by the promise that came with it, and starts again: its sequences begin anew. */
async function firstBallotOfALeader(faults: IndexFaults): Promise<string[]> {
  const { scene, leader } = await openWithLeader({ nodes: 4, faults });
  const { world } = scene;
  const client = scene.client("c");
  const [next] = scene.view(leader).members.filter((i) => i !== leader);
  const [newcomer] = scene.others(leader).filter((i) => !scene.view(leader).members.includes(i));
  await scene.changeView([leader, next!, newcomer!]);
  for (let n = 0; n < 3; n++) await putOk(scene, client, leader);
  world.crash(leader);
  await scene.run(world.restart(leader));
  await putOk(scene, client, leader);
  await scene.run(client.get(KEY, { at: newcomer! }));
  return scene.problems();
}

test("a directed schedule finds the promise of a view used for a second election", async () => {
  expect(await firstBallotOfALeader({})).toEqual([]);
  expect(await firstBallotOfALeader({ inheritedForEver: true })).not.toEqual([]);
});
