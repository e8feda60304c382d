// Changes of views that are urgent, and others: their order, their groups and their rests.
import { beforeEach, expect, test } from "vitest";
import { ChangePace } from "../../../node/index/change-pace.ts";
import { pause } from "../../../node/waiting.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";

const [changeMs, restMs] = [10, 25];
/** From the beginning of a change to that of the next one. */
const stepMs = changeMs + restMs;

let clock: VirtualClock;
let pace: ChangePace;
/** Names of changes with the time at which they began, in order. */
let begun: [string, number][];

beforeEach(() => {
  clock = new VirtualClock();
  pace = new ChangePace(clock, restMs);
  begun = [];
});

/** Asks for a change that takes `changeMs`. */
function ask(name: string, urgent: boolean): Promise<void> {
  const change = async (): Promise<void> => {
    begun.push([name, clock.now - fromMs]);
    await pause(clock, changeMs);
  };
  return pace.run(change, urgent);
}
let fromMs = 0;

async function asked(...changes: Promise<void>[]): Promise<void> {
  await clock.settle(Promise.all(changes), { deadlineMs: clock.now + 10_000 });
}

test("run lets changes that are not urgent begin one at a time, with a rest after each", async () => {
  fromMs = clock.now;
  await asked(ask("a", false), ask("b", false), ask("c", false));
  expect(begun).toEqual([
    ["a", 0],
    ["b", stepMs],
    ["c", 2 * stepMs],
  ]);
});

test("run keeps the rest when the next change comes later", async () => {
  fromMs = clock.now;
  await asked(ask("a", false));
  await asked(ask("b", false));
  await clock.runFor(1_000);
  await asked(ask("c", false));
  expect(begun).toEqual([
    ["a", 0],
    ["b", stepMs],
    ["c", stepMs + changeMs + 1_000],
  ]);
});

test("run lets four urgent changes begin together, and the next four as soon as they have ended", async () => {
  fromMs = clock.now;
  await asked(...["a", "b", "c", "d", "e", "f"].map((name) => ask(name, true)));
  expect(begun.map(([name, ms]) => `${name} ${ms}`)).toEqual([
    "a 0",
    "b 0",
    "c 0",
    "d 0",
    "e 10",
    "f 10",
  ]);
});

test("run lets urgent changes pass, and not wait for a rest", async () => {
  fromMs = clock.now;
  const calm = [ask("calm 1", false), ask("calm 2", false)];
  await clock.runFor(20); // calm 1 is over
  await asked(ask("urgent 1", true));
  const urgent = ask("urgent 2", true);
  await asked(...calm, urgent);
  expect(begun).toEqual([
    ["calm 1", 0],
    ["urgent 1", 20],
    ["urgent 2", 30],
    ["calm 2", 40],
  ]);
});

test.each([true, false])(
  "run ends as the change does, and goes on after one that failed (urgent: %s)",
  async (urgent) => {
    const failing = pace.run(() => Promise.reject(new Error("no")), urgent);
    const failed = expect(failing).rejects.toThrow("no");
    await asked(ask("later", urgent));
    await failed;
    expect(begun.map(([name]) => name)).toEqual(["later"]);
  },
);
