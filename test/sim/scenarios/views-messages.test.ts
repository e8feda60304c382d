// Changes of a slice's view, message by message.
import { expect, test } from "vitest";
import { type MemberName, openBench, type SliceBench } from "../slice-bench.ts";

const NEXT: readonly MemberName[] = ["D", "E", "F"];

const open = () => openBench({});

/** Calls of these kinds from one member to another are lost but for these ways. */
function only(bench: SliceBench, ways: Partial<Record<MemberName, readonly MemberName[]>>): void {
  bench.fate = (_call, from, to) =>
    from === to || ways[from] === undefined || ways[from].includes(to) ? "pass" : "lose";
}

// A value that C missed: whichever two a newcomer hears, one of them holds it.
test("three newcomers that seal different majorities all hold what was acknowledged", async () => {
  const { bench, leader, v0 } = await open();
  bench.fate = (call, _from, to) => (call === "accept" && to === "C" ? "lose" : "pass");
  const v1 = bench.put(leader, { ifMatch: v0 });
  await bench.settle();
  const change = await bench.run(bench.decide(leader, NEXT));
  only(bench, { D: ["A", "B"], E: ["B", "C"], F: ["A", "C"] });
  await bench.installAll(change, NEXT);
  expect(bench.active()).toEqual({ D: 2, E: 2, F: 2 });
  expect(NEXT.map((name) => bench.held(name))).toEqual([v1, v1, v1]);
});

// A alone holds the decision when it dies. B and C know nothing of it and decide otherwise; A's word counts no more.
test("a leader that dies after its decision reached a minority decided nothing", async () => {
  const { bench, leader } = await open();
  bench.fate = (call, _from, to) => (call === "accept" && to !== "A" ? "lose" : "pass");
  void bench.decide(leader, NEXT).catch(() => {});
  await bench.settle();
  const b = await bench.elect("B", 2, ["B", "C"]);
  bench.fate = (_call, _from, to) => (to === "A" ? "lose" : "pass");
  const change = await bench.run(bench.decide(b, ["E", "F", "G"]));
  expect(change.view).toEqual(bench.change(b, ["E", "F", "G"]).view);
  bench.fate = () => "pass";
  const c = await bench.elect("C", 3, ["A", "C"]);
  expect(await bench.run(bench.decide(c, NEXT))).toEqual(change);
});

// The same, and the next leader hears A: it cannot know whether that was decided, and brings it to an end.
test("a decision that reached a minority stands when the next leader finds it", async () => {
  const { bench, leader } = await open();
  bench.fate = (call, _from, to) => (call === "accept" && to !== "A" ? "lose" : "pass");
  void bench.decide(leader, NEXT).catch(() => {});
  await bench.settle();
  bench.fate = (call, _from, to) => (call === "readReg" && to === "C" ? "lose" : "pass");
  const b = await bench.elect("B", 2, ["A", "B"]);
  const change = await bench.run(bench.decide(b, ["E", "F", "G"]));
  expect(change.view).toEqual(bench.change(b, NEXT).view);
});

// A and B hold it, no acknowledgement came back, A dies: whoever leads next proposes that one.
test("a leader that dies after its decision reached a majority has decided", async () => {
  for (const by of [
    ["B", "C"],
    ["A", "C"],
  ] as const) {
    const { bench, leader } = await open();
    bench.fate = (call, _from, to) => (call === "accept" && to === "C" ? "lose" : "pass");
    void bench.decide(leader, NEXT).catch(() => {});
    await bench.settle();
    bench.fate = () => "pass";
    const c = await bench.elect("C", 2, by);
    const change = await bench.run(bench.decide(c, ["E", "F", "G"]));
    expect(change.view).toEqual(bench.change(c, NEXT).view);
    await bench.installAll(change, NEXT);
    expect(bench.active()).toMatchObject({ D: 2, E: 2, F: 2 });
  }
});

// A's proposal is on its way when B is elected and has its own decided. A's messages come late, and change nothing.
test("of two leaders that propose different views one wins", async () => {
  const { bench, leader } = await open();
  bench.fate = (call, from, to) => {
    if (from === "B" && to === "A") return "lose";
    return call === "accept" && from === "A" ? "hold" : "pass";
  };
  const late = bench.decide(leader, NEXT).then(
    () => "decided",
    () => "deposed",
  );
  await bench.settle();
  const b = await bench.elect("B", 2, ["B", "C"]);
  const change = await bench.run(bench.decide(b, ["E", "F", "G"]));
  for (const to of ["A", "B", "C"] as const) await bench.release("accept", "A", to);
  bench.fate = () => "pass";
  expect(await bench.run(late)).toBe("deposed");
  const c = await bench.elect("C", 3, ["A", "B", "C"]);
  expect(await bench.run(bench.decide(c, NEXT))).toEqual(change);
});

// A view serves with a majority of its members, and may be changed by it. F never came: it says that it never will,
// counts beside E, and E has everything.
test("the view after next is made while a minority of the next never became active", async () => {
  const { bench, leader, v0 } = await open();
  const first = await bench.run(bench.decide(leader, NEXT));
  only(bench, { F: [], E: [] });
  await bench.installAll(first, NEXT);
  expect(bench.active()).toMatchObject({ D: 2 });
  await expect(bench.elect("D", 1, ["D", "E"])).rejects.toThrow("E refuses");
  only(bench, { F: [] });
  await bench.clock.runFor(5_000);
  expect(bench.active()).toMatchObject({ D: 2, E: 2 });
  const d = await bench.elect("D", 2, ["D", "E"]);
  const v1 = bench.put(d, { ifMatch: v0 });
  await bench.settle();
  const second = await bench.run(bench.decide(d, ["F", "G", "A"]));
  bench.fate = (_call, from, to) => (from !== to && to === "D" ? "lose" : "pass");
  await bench.installAll(second, ["F", "G", "A"]);
  await bench.clock.runFor(5_000);
  expect(bench.active()).toMatchObject({ F: 3, G: 3, A: 3 });
  expect((["F", "G", "A"] as const).map((name) => bench.held(name))).toEqual([v1, v1, v1]);
  await bench.installAll(first, ["F"]); // comes again, late
  expect(bench.active()).toMatchObject({ F: 3 });
});

// SEAL is durable before it is answered: after a restart A and B vote no more, and still give what they hold.
test("a sealed member that restarts stays sealed and keeps what it holds", async () => {
  const { bench, leader, v0 } = await open();
  const change = await bench.run(bench.decide(leader, NEXT));
  for (const name of ["A", "B"] as const) {
    expect(await bench.seal(change, name)).toMatchObject({ ok: true, state: "sealed" });
    bench.restart(name);
  }
  expect(bench.active()).toEqual({ C: 1 });
  await expect(bench.elect("C", 2, ["C", "B"])).rejects.toThrow("B refuses");
  bench.fate = (_call, from, to) => (from !== to && to === "C" ? "lose" : "pass");
  await bench.installAll(change, NEXT);
  expect(bench.active()).toMatchObject({ D: 2, E: 2, F: 2 });
  expect(NEXT.map((name) => bench.held(name))).toEqual([v0, v0, v0]);
});

// D dies while it copies; it comes back on what it noted, and begins again.
test("a newcomer that dies while it joins goes on when it is back", async () => {
  const { bench, leader, v0 } = await open();
  const change = await bench.run(bench.decide(leader, NEXT));
  for (const call of ["seal", "fetch"] as const) {
    bench.fate = (each, from) => (from === "D" && each === call ? "hold" : "pass");
    await bench.install(change, "D");
    await bench.settle();
    expect(bench.active()).not.toHaveProperty("D");
    bench.restart("D");
  }
  bench.fate = () => "pass";
  await bench.clock.runFor(5_000);
  expect(bench.active()).toMatchObject({ D: 2 });
  expect(bench.held("D")).toBe(v0);
});

// The write was computed in view 1 and is held up. View 2 began from members that never took it.
test("a delayed ACCEPT of a leader of the view before is refused", async () => {
  const { bench, leader, v0 } = await open();
  const change = await bench.run(bench.decide(leader, NEXT));
  bench.fate = (call, _from, to) => (call === "accept" && to !== "A" ? "hold" : "pass");
  bench.put(leader, { ifMatch: v0 });
  await bench.settle();
  bench.fate = (call, from, to) => {
    if (call === "accept" && from === "A") return "hold";
    return from !== to && to === "A" ? "lose" : "pass";
  };
  await bench.installAll(change, NEXT);
  const d = await bench.elect("D", 1, ["D", "E", "F"]);
  bench.read(d);
  await bench.settle();
  for (const to of ["B", "C"] as const) await bench.release("accept", "A", to);
  await bench.clock.runFor(5_000);
  bench.read(d);
  await bench.settle();
  expect(bench.history.of("x").map(({ outcome }) => outcome.kind)).toEqual([
    "ok",
    "unknown",
    "ok",
    "ok",
  ]);
  expect(bench.history.violations()).toEqual([]);
});

// v1 reached B alone; a reader at B's side is told it only after it was written again, and so it outlives B.
test("a value that one read has seen survives the next fail-over, also into the next view", async () => {
  const { bench, leader, v0 } = await open();
  bench.fate = (call, _from, to) => (call === "accept" && to !== "B" ? "lose" : "pass");
  bench.put(leader, { ifMatch: v0 });
  await bench.settle();
  bench.fate = (_call, from, to) => (from !== to && to === "A" ? "lose" : "pass");
  const b = await bench.elect("B", 2, ["B", "C"]);
  bench.read(b);
  await bench.settle();
  bench.fate = (_call, from, to) => (from !== to && to === "B" ? "lose" : "pass");
  const c = await bench.elect("C", 3, ["A", "C"]);
  const change = await bench.run(bench.decide(c, NEXT));
  await bench.installAll(change, NEXT);
  const d = await bench.elect("D", 1, NEXT);
  bench.read(d);
  await bench.settle();
  const reads = bench.history.of("x").filter(({ action }) => action.kind === "get");
  expect(reads.map(({ outcome }) => outcome.kind)).toEqual(["ok", "ok"]);
  expect(bench.history.violations()).toEqual([]);
});
