import { expect, test } from "vitest";
import { SeededChance } from "./seeded-chance.ts";
import { SIM_EPOCH_MS, VirtualClock } from "./virtual-clock.ts";

test("VirtualClock fires timers by time, then by insertion, with all promise reactions between two", async () => {
  const clock = new VirtualClock();
  const seen: string[] = [];
  const note = async (text: string): Promise<void> => {
    for (let i = 0; i < 20; i++) await Promise.resolve();
    seen.push(`${text}@${clock.now}`);
  };
  clock.after(10, () => void note("b"));
  clock.after(5, () => {
    void note("a");
    clock.after(5, () => void note("d"));
  });
  clock.after(10, () => void note("c"));
  const cancelled = clock.after(7, () => void note("never"));
  cancelled.cancel();
  await clock.run(100);
  expect(seen).toEqual(["a@5", "b@10", "c@10", "d@10"]);
  expect(clock.now).toBe(100);
  expect(clock.wallMs()).toBe(SIM_EPOCH_MS + 100);
});

test("VirtualClock.run stops at its predicate and throws when that cannot come true", async () => {
  const clock = new VirtualClock();
  let count = 0;
  const tick = (): void => {
    count++;
    clock.after(1, tick);
  };
  clock.after(1, tick);
  await clock.run(() => count === 5);
  expect(clock.now).toBe(5);
  await expect(clock.run(() => count < 0, { maxEvents: 10 })).rejects.toThrow("more than 10");
  await expect(clock.run(() => count < 0, { deadlineMs: 50 })).rejects.toThrow("deadline");
  await expect(new VirtualClock().run(() => false)).rejects.toThrow("no timer");
});

test("VirtualClock.settle gives a promise's outcome after running the time it needs", async () => {
  const clock = new VirtualClock();
  expect(await clock.settle(clock.sleep(30).then(() => clock.now))).toBe(30);
  await expect(
    clock.settle(
      clock.sleep(5).then(() => {
        throw new Error("broken");
      }),
    ),
  ).rejects.toThrow("broken");
});

test("ClockView drifts, holds its timers while paused, and is silent once killed", async () => {
  const clock = new VirtualClock();
  const fast = clock.view({ wallOffsetMs: 3_600_000, driftPpm: 10_000 });
  const seen: number[] = [];
  fast.after(101, () => seen.push(clock.now));
  await clock.run(1_000);
  expect(seen).toEqual([100]);
  expect(fast.monotonicMs()).toBeCloseTo(1_010);
  expect(fast.wallMs()).toBe(SIM_EPOCH_MS + 1_010 + 3_600_000);

  fast.pause();
  fast.after(101, () => seen.push(clock.now));
  await clock.run(2_000);
  expect(seen).toHaveLength(1);
  fast.resume();
  await clock.run(2_001);
  expect(seen).toEqual([100, 2_000]);

  fast.after(10, () => seen.push(clock.now));
  fast.kill();
  fast.after(10, () => seen.push(clock.now));
  await clock.run(3_000);
  expect(seen).toHaveLength(2);
});

test("SeededChance repeats by seed and forks independently of what was drawn", () => {
  const draw = (chance: SeededChance): number[] => Array.from({ length: 5 }, () => chance.uint32());
  expect(draw(new SeededChance(7))).toEqual(draw(new SeededChance(7)));
  expect(draw(new SeededChance(7))).not.toEqual(draw(new SeededChance(8)));
  const used = new SeededChance(7);
  used.bytes(100);
  expect(draw(used.fork("net"))).toEqual(draw(new SeededChance(7).fork("net")));
  expect(draw(used.fork("net"))).not.toEqual(draw(used.fork("disk")));
});

test("SeededChance.fraction is spread evenly over its range", () => {
  const chance = new SeededChance(1);
  const counts = Array.from({ length: 10 }, () => 0);
  for (let i = 0; i < 10_000; i++) counts[Math.floor(chance.fraction() * 10)]! += 1;
  for (const count of counts) {
    expect(count).toBeGreaterThan(850);
    expect(count).toBeLessThan(1_150);
  }
});
