// What one node knows of the number of copies: the latest, over restarts too, told to others so often and no more.
import { expect, test } from "vitest";
import { type Log } from "../../../node/ports.ts";
import { KnownCopies } from "../../../node/route/known-copies.ts";
import { copiesFor } from "../../../node/route/rumours.ts";
import { MemoryDisk, openMemoryStore } from "../../../node/runtime/memory-store.ts";
import { RingstowError } from "../../../shared/errors.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";

const MEMBERS = 5;

/** What starts on a disk after the power was off. */
function setUp(disk = new MemoryDisk()) {
  disk.powerLoss();
  const clock = new VirtualClock();
  const warnings: string[] = [];
  const log: Log = { info: () => {}, warn: (event) => warnings.push(event), error: () => {} };
  const store = openMemoryStore(disk, clock, { syncMs: 1 });
  const known = new KnownCopies({ first: 3, store, log, members: () => MEMBERS });
  return { clock, disk, store, warnings, known };
}

test("begins with what genesis says, which is no news to anybody", () => {
  const { known } = setUp();
  expect(known.setting).toEqual({ version: 0, copies: 3 });
  expect(known.laterThan()).toBeUndefined();
  expect(known.takeNews()).toBeUndefined();
});

test("takes what is later, and rides on a bounded number of messages", () => {
  const { known } = setUp();
  known.learn({ version: 2, copies: 5 });
  known.learn({ version: 1, copies: 1 });
  known.learn({ version: 2, copies: 3 });
  expect(known.setting).toEqual({ version: 2, copies: 5 });
  const told = Array.from({ length: 20 }, () => known.takeNews()).filter(Boolean);
  expect(told).toHaveLength(copiesFor(MEMBERS));
  known.learn({ version: 2, copies: 5 });
  expect(known.takeNews()).toBeUndefined();
  known.learn({ version: 3, copies: 3 });
  expect(known.takeNews()).toEqual({ version: 3, copies: 3 });
});

test("answers those who know less, whatever was told before", () => {
  const { known } = setUp();
  known.learn({ version: 2, copies: 5 });
  expect(known.laterThan()).toEqual({ version: 2, copies: 5 });
  expect(known.laterThan({ version: 1, copies: 3 })).toEqual({ version: 2, copies: 5 });
  expect(known.laterThan({ version: 2, copies: 5 })).toBeUndefined();
  expect(known.laterThan({ version: 3, copies: 1 })).toBeUndefined();
});

test("is there after a restart; an older store brings nothing back over what is known", async () => {
  const { clock, disk, known } = setUp();
  known.learn({ version: 1, copies: 5 });
  await clock.runFor(10);
  const later = setUp(disk).known;
  later.load();
  expect(later.setting).toEqual({ version: 1, copies: 5 });
  const warned = setUp(disk).known;
  warned.learn({ version: 2, copies: 1 });
  warned.load();
  expect(warned.setting).toEqual({ version: 2, copies: 1 });
});

test("goes on without a disk that takes it, and without what is damaged there", async () => {
  const { clock, disk, known, warnings } = setUp();
  disk.refusal = new RingstowError("DiskFull");
  known.learn({ version: 1, copies: 5 });
  await clock.runFor(10);
  expect(known.setting).toEqual({ version: 1, copies: 5 });
  expect(warnings).toHaveLength(1);
  disk.refusal = undefined;
  const after = setUp(disk);
  after.known.load();
  expect(after.known.setting).toEqual({ version: 0, copies: 3 });
  for (const text of ["", "null", '{"version":1}', '{"version":1,"copies":9}']) {
    disk.apply([{ key: "c/copies", value: new TextEncoder().encode(text) }]);
    const damaged = setUp(disk);
    damaged.known.load();
    expect(damaged.known.setting, text).toEqual({ version: 0, copies: 3 });
    expect(damaged.warnings, text).toHaveLength(1);
  }
});
