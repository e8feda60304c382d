// Breaks one rule at a time and shows that the checks see it; with the rule whole, the same schedule keeps every
// promise. Here: leaders that hand over to the next view while they serve.
import { expect, test } from "vitest";
import { type IndexFaults } from "../../../node/index/faults.ts";
import { type MemberName, openBench, SliceBench } from "../slice-bench.ts";

const NEXT: readonly MemberName[] = ["D", "E", "F"];

/** What became of the operations, in the order of their calls. */
const outcomes = (bench: SliceBench): string[] =>
  bench.history.of("x").map(({ outcome }) => outcome.kind);

/** A leads A, B and C, has decided on D, E and F, who are active, and serves still. */
async function openHandover(faults: IndexFaults) {
  const { bench, leader, v0 } = await openBench(faults);
  const change = await bench.run(bench.decide(leader, NEXT));
  await bench.seal(change, "A", leader);
  await bench.enter(change, NEXT, leader);
  await bench.join(NEXT);
  expect(bench.active()).toMatchObject({ D: 2, E: 2, F: 2 });
  return { bench, leader, v0, change };
}

/** A decides once more. Then it is gone, and D leads: it finds that, if D, E or F had to agree. */
async function decidedWhileHandingOver(faults: IndexFaults): Promise<string[]> {
  const { bench, leader, v0 } = await openHandover(faults);
  bench.put(leader, { ifMatch: v0 });
  await bench.settle();
  expect(outcomes(bench)).toEqual(["ok", "ok"]);
  const d = await bench.elect("D", 2, ["D", "E"]);
  bench.read(d);
  await bench.settle();
  expect(outcomes(bench)).toEqual(["ok", "ok", "ok"]);
  return bench.history.violations();
}

test("a directed schedule finds a leader that hands over and decides without the next view", async () => {
  expect(await decidedWhileHandingOver({})).toEqual([]);
  expect(await decidedWhileHandingOver({ noWidening: true })).not.toEqual([]);
});

/** D does not wait for A's word, and leads by E's promise. A knows nothing of it, and is asked to write what D wrote. */
async function ledBeforeItWasHandedOver(faults: IndexFaults): Promise<string[]> {
  const { bench, leader, v0 } = await openHandover(faults);
  const d = await bench.elect("D", 2, ["D", "E"]);
  bench.put(d, { ifMatch: v0 });
  await bench.settle();
  bench.put(leader, { ifMatch: v0 });
  await bench.clock.runFor(10_000);
  expect(outcomes(bench).slice(0, 2)).toEqual(["ok", "ok"]);
  return bench.history.violations();
}

test("a directed schedule finds members that serve two leaders", async () => {
  expect(await ledBeforeItWasHandedOver({})).toEqual([]);
  expect(await ledBeforeItWasHandedOver({ servesOn: true })).not.toEqual([]);
});

/**
 * D and E have heard from A that there is no value, and wait for B's word, which never got the one that A decides now with
 * C, D and E: nobody whom D and E asked holds it, but they do.
 */
async function takenWhileJoining(faults: IndexFaults): Promise<string[]> {
  const bench = new SliceBench(faults);
  const leader = await bench.elect("A", 1, ["A", "B", "C"]);
  const change = await bench.run(bench.decide(leader, NEXT));
  await bench.seal(change, "A", leader);
  await bench.enter(change, NEXT, leader);
  bench.fate = (call, _from, to) => {
    if (call === "accept" && (to === "B" || to === "F")) return "lose";
    return call === "seal" && to !== "A" ? "hold" : "pass";
  };
  await bench.join(NEXT);
  bench.put(leader, { ifNoneMatch: "*" });
  await bench.settle();
  expect(outcomes(bench)).toEqual(["ok"]);
  for (const name of ["D", "E"] as const) await bench.release("seal", name, "B");
  expect(bench.active()).toMatchObject({ D: 2, E: 2 });
  bench.fate = () => "pass";
  const d = await bench.elect("D", 2, ["D", "E"]);
  bench.read(d);
  await bench.settle();
  expect(outcomes(bench)).toEqual(["ok", "ok"]);
  return bench.history.violations();
}

test("a directed schedule finds members that give up what they took while they joined", async () => {
  expect(await takenWhileJoining({})).toEqual([]);
  expect(await takenWhileJoining({ sparesNothing: true })).not.toEqual([]);
});
