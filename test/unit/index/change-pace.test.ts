// Changes of views in groups, with rests as long as they wait for each other.
import { expect, test } from "vitest";
import { ChangePace } from "../../../node/index/change-pace.ts";
import { pause } from "../../../node/waiting.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";

interface Run {
  readonly clock: VirtualClock;
  /** When each change began, in order. */
  readonly begunMs: number[];
  readonly tookMs: number;
}

/** Runs `count` changes that were all asked for at once; each takes `lastMs(changes under way)`. */
async function run(count: number, lastMs: (underWay: number) => number): Promise<Run> {
  const clock = new VirtualClock();
  const pace = new ChangePace(clock);
  const begunMs: number[] = [];
  let underWay = 0;
  const change = async (): Promise<void> => {
    begunMs.push(clock.now);
    underWay++;
    await Promise.resolve();
    await pause(clock, lastMs(underWay));
    underWay--;
  };
  const from = clock.now;
  const all = Promise.all(Array.from({ length: count }, () => pace.run(change)));
  await clock.settle(all, { deadlineMs: clock.now + 3_600_000 });
  return { clock, begunMs, tookMs: clock.now - from };
}

const groupSizes = (begunMs: readonly number[]): number[] => [
  ...Map.groupBy(begunMs, (ms) => ms)
    .values()
    .map((group) => group.length),
];

test("run lets four changes begin together, and the next four when they have ended", async () => {
  const { begunMs } = await run(10, () => 5);
  expect(groupSizes(begunMs)).toEqual([4, 4, 2]);
});

test("run does without rests once changes take no longer than the quickest", async () => {
  const { begunMs } = await run(400, () => 300); // far nodes
  const last = begunMs.slice(-8);
  expect(last[4]! - last[0]!).toBeCloseTo(300);
});

test("run rests while changes take longer than the quickest did", async () => {
  let n = 0;
  const { begunMs } = await run(800, () => (n++ < 8 ? 4 : 20));
  const steps = begunMs.flatMap((ms, i) =>
    i > 0 && ms > begunMs[i - 1]! ? [ms - begunMs[i - 1]!] : [],
  );
  // Until the quick ones are forgotten: a tenth of the time is spent on changes.
  expect(steps.slice(20, 60).every((ms) => Math.abs(ms - 200) < 1)).toBe(true);
  expect(steps.at(-1)).toBeLessThan(100);
});

test("run never rests for long: a change that does not come about holds up nobody", async () => {
  let n = 0;
  const { begunMs } = await run(12, () => (n++ < 4 ? 10 : 1_000));
  expect(begunMs.at(-1)! - begunMs[0]!).toBeLessThan(10 + 500 + 1_000 + 500 + 10);
});

test("run ends as the change does, and goes on after one that failed", async () => {
  const clock = new VirtualClock();
  const pace = new ChangePace(clock);
  const failing = pace.run(() => Promise.reject(new Error("no")));
  const failed = expect(failing).rejects.toThrow("no");
  let ran = false;
  const later = pace.run(async () => void (ran = true));
  await clock.settle(later, { deadlineMs: clock.now + 10_000 });
  await failed;
  expect(ran).toBe(true);
});
