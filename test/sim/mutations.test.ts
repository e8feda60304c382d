// Breaks one rule of the protocol at a time and shows that the checks see it; with the rule whole, the same schedule
// keeps every promise. What no test notices when it is broken is not tested.
import { expect, test } from "vitest";
import { type IndexFaults } from "../../node/index/faults.ts";
import { Scene } from "./scene.ts";
import { simulate } from "./simulation.ts";
import { SliceBench } from "./slice-bench.ts";

test("random schedules find quorums of one", async () => {
  let found: number | undefined;
  for (let seed = 1; seed <= 40 && found === undefined; seed++) {
    const report = await simulate({ seed, faults: { smallQuorum: true } });
    if (report.violations.some((violation) => violation.startsWith("key"))) found = seed;
  }
  expect(found, "the first of 40 seeds that finds it").toBeDefined();
});

/**
 * Leader C's write under b0 is on A alone. B is elected by A and B under b1 and reads from B and C, but C has not
 * promised b1: without the equality it answers, then accepts C's write under b0, and both writes are acknowledged.
 */
async function readBelowThePromise(faults: IndexFaults): Promise<string[]> {
  const bench = new SliceBench(faults);
  const create = { ifNoneMatch: "*" };
  const old = await bench.elect("C", 1, ["A", "B", "C"]);
  bench.fate = (call, _from, to) => (call === "accept" && to !== "A" ? "hold" : "pass");
  bench.put(old, create);
  await bench.settle();
  const fresh = await bench.elect("B", 2, ["A", "B"]);
  bench.fate = (call, from, to) => {
    if (from !== "B") return "pass";
    if (call === "accept") return "hold";
    return call === "readReg" && to === "A" ? "hold" : "pass";
  };
  bench.put(fresh, create);
  await bench.clock.runFor(200); // a refused READREG brings C to the ballot and is asked again
  await bench.release("accept", "C", "C");
  await bench.release("accept", "B", "B");
  await bench.release("accept", "B", "C");
  bench.fate = () => "pass";
  await bench.clock.runFor(1_000);
  expect(
    bench.history.of("x").some(({ outcome }) => outcome.kind === "ok"),
    "a put is acknowledged",
  ).toBe(true);
  return bench.history.violations();
}

test("a directed schedule finds READREG without the equality of promises", async () => {
  expect(await readBelowThePromise({})).toEqual([]);
  expect(await readBelowThePromise({ noPromiseEquality: true })).not.toEqual([]);
});

/**
 * v1 under b0 is on A alone; B and C promised b1, and B computes v2 from v0. Anti-entropy from A to C would let a
 * fast read of A and C answer v1, and then v2 is acknowledged.
 */
async function syncBelowThePromise(faults: IndexFaults): Promise<string[]> {
  const bench = new SliceBench(faults);
  const a = await bench.elect("A", 1, ["A", "B", "C"]);
  const v0 = bench.put(a, { ifNoneMatch: "*" });
  await bench.settle();
  bench.fate = (call, _from, to) => (call === "accept" && to !== "A" ? "lose" : "pass");
  bench.put(a, { ifMatch: v0 });
  await bench.settle();
  const b = await bench.elect("B", 2, ["B", "C"]);
  bench.fate = (call, from, to) => {
    if (from === "B" && to === "A") return "lose";
    return call === "accept" ? "hold" : "pass";
  };
  bench.put(b, { ifMatch: v0 });
  await bench.settle();
  await bench.sync("A", "C");
  bench.fate = (_call, _from, to) => (to === "B" ? "lose" : "pass");
  // With the rule A and C disagree: the read waits for B or goes to the leader, and is no part of the story.
  const read = bench.readFast("A");
  await Promise.race([read, bench.clock.runFor(500)]);
  bench.fate = (_call, from, to) => (from === "B" && to === "A" ? "lose" : "pass");
  await bench.release("accept", "B", "B");
  await bench.release("accept", "B", "C");
  await bench.clock.runFor(1_000);
  const acknowledged = bench.history
    .of("x")
    .filter(({ action, outcome }) => action.kind === "put" && outcome.kind === "ok");
  expect(acknowledged).toHaveLength(2);
  return bench.history.violations();
}

test("a directed schedule finds SYNC that ignores promises", async () => {
  expect(await syncBelowThePromise({})).toEqual([]);
  expect(await syncBelowThePromise({ syncIgnoresPromise: true })).not.toEqual([]);
});

/** Everything acknowledged, then all power lost at once. */
async function powerLossAfterTheAnswer(lyingDisks: boolean): Promise<string[]> {
  const scene = await Scene.open({ syncMs: 20, lyingDisks });
  const client = scene.client("c");
  for (let n = 0; n < 5; n++) {
    const { outcome } = await scene.run(client.put(`key ${n}`, 50, { at: n % 3 }));
    expect(outcome).toBe("ok");
  }
  for (const i of scene.world.up()) scene.world.crash(i);
  await scene.world.heal();
  for (let n = 0; n < 5; n++) await scene.readEverywhere(`key ${n}`);
  return scene.problems();
}

test("power loss finds disks that answer before the data is durable", async () => {
  expect(await powerLossAfterTheAnswer(false)).toEqual([]);
  expect(await powerLossAfterTheAnswer(true)).not.toEqual([]);
});
