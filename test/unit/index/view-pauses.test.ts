// How long slices stood still, as the node that is elected measures it.
import { expect, test } from "vitest";
import { ViewPauses } from "../../../node/index/view-pauses.ts";
import { viewPausesMax } from "../../../shared/limits.ts";
import { type Slice } from "../../../shared/slices.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";

const slice = (n: number): Slice => n as Slice;

let epoch = 1;

async function pause(pauses: ViewPauses, clock: VirtualClock, ms: number): Promise<void> {
  pauses.began(slice(1), ++epoch);
  await clock.runFor(ms / 2);
  pauses.began(slice(1), epoch); // told again
  await clock.runFor(ms / 2);
  pauses.ended(slice(1), epoch);
}

test("ViewPauses sums up nothing before the first change, and none that it saw one end of", () => {
  const pauses = new ViewPauses(new VirtualClock());
  pauses.ended(slice(1), 2);
  pauses.began(slice(2), 2);
  expect(pauses.summary()).toEqual({ count: 0, medianMs: 0, p99Ms: 0, longestMs: 0 });
});

test("ViewPauses gives median, 99th percentile and longest, and counts a change once", async () => {
  const clock = new VirtualClock();
  const pauses = new ViewPauses(clock);
  for (let i = 1; i <= 200; i++) await pause(pauses, clock, i);
  pauses.ended(slice(1), epoch); // a later election there, and one in a view that came before
  pauses.ended(slice(1), epoch - 1);
  const { count, medianMs, p99Ms, longestMs } = pauses.summary();
  expect([count, medianMs, p99Ms, longestMs]).toEqual([200, 100, 198, 200]);
});

test("ViewPauses keeps the newest only", async () => {
  const clock = new VirtualClock();
  const pauses = new ViewPauses(clock);
  await pause(pauses, clock, 1_000);
  for (let i = 0; i < viewPausesMax; i++) await pause(pauses, clock, 1);
  expect(pauses.summary()).toMatchObject({ count: viewPausesMax + 1, longestMs: 1 });
});
