// Breaks one rule at a time and shows that the checks see it; with the rule whole, the same schedule keeps every
// promise. What no test notices when it is broken is not tested. Here: leaders and their quorums.
import { expect, test } from "vitest";
import { type IndexFaults } from "../../../node/index/faults.ts";
import { simulate } from "../simulation.ts";
import { openBench, SliceBench } from "../slice-bench.ts";

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
  const { bench, leader: a, v0 } = await openBench(faults);
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

/** A leads, but B and C elected B, whose write they acknowledge: what A knows is old. */
async function readOfADeposedLeader(faults: IndexFaults): Promise<string[]> {
  const { bench, leader: a, v0 } = await openBench(faults);
  const b = await bench.elect("B", 2, ["B", "C"]);
  bench.fate = (_call, from, to) => (from !== to && to === "A" ? "lose" : "pass");
  bench.put(b, { ifMatch: v0 });
  await bench.settle();
  bench.read(a);
  await bench.clock.runFor(1_000);
  const written = bench.history.of("x").filter(({ outcome }) => outcome.kind === "ok");
  expect(written.length).toBeGreaterThanOrEqual(2);
  return bench.history.violations();
}

test("a directed schedule finds a leader that answers without a CONFIRM round", async () => {
  expect(await readOfADeposedLeader({})).toEqual([]);
  expect(await readOfADeposedLeader({ noConfirm: true })).not.toEqual([]);
});

/** v1 is on A alone. B, elected with A, reads it there; then A is away, and C, elected with B, reads what those have. */
async function readOfAnUndecidedValue(faults: IndexFaults): Promise<string[]> {
  const { bench, leader: a, v0 } = await openBench(faults);
  bench.fate = (call, _from, to) => (call === "accept" && to !== "A" ? "lose" : "pass");
  bench.put(a, { ifMatch: v0 });
  await bench.settle();
  const b = await bench.elect("B", 2, ["A", "B"]);
  bench.fate = (call, _from, to) => (call === "readReg" && to === "C" ? "lose" : "pass");
  bench.read(b);
  await bench.settle();
  const c = await bench.elect("C", 3, ["B", "C"]);
  bench.fate = (_call, _from, to) => (to === "A" ? "lose" : "pass");
  bench.read(c);
  await bench.clock.runFor(1_000);
  const reads = bench.history.of("x").filter(({ action }) => action.kind === "get");
  expect(reads.map(({ outcome }) => outcome.kind)).toEqual(["ok", "ok"]);
  return bench.history.violations();
}

test("a directed schedule finds a leader that tells a value of an older ballot without writing it", async () => {
  expect(await readOfAnUndecidedValue({})).toEqual([]);
  expect(await readOfAnUndecidedValue({ noRewrite: true })).not.toEqual([]);
});
