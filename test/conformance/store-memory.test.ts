// The memory store against the Store suite, and what only it does: virtual sync time and power loss.
import { describe, expect, test } from "vitest";
import { MemoryDisk, openMemoryStore } from "../../node/runtime/memory-store.ts";
import { RingstowError } from "../../shared/errors.ts";
import { VirtualClock } from "../sim/virtual-clock.ts";
import { bytes, describeStore, text } from "./store-suite.ts";

const row = (key: string) => ({ key, value: bytes(key) });

for (const syncMs of [0, 3]) {
  describe(`MemoryStore with a sync of ${syncMs} ms`, () =>
    describeStore(async () => {
      const clock = new VirtualClock();
      const disk = new MemoryDisk();
      return {
        open: async () => openMemoryStore(disk, clock, { syncMs }),
        run: (body) => clock.settle(body()),
        end: async () => {},
      };
    }));
}

describe("MemoryStore", () => {
  test("write: takes one sync; what comes during a sync takes the next", async () => {
    const clock = new VirtualClock();
    const store = openMemoryStore(new MemoryDisk(), clock, { syncMs: 5 });
    const ended: [string, number][] = [];
    const write = (key: string): void => {
      void store.write([row(key)]).then(() => ended.push([key, clock.now]));
    };
    write("a");
    write("b");
    clock.after(2, () => write("c"));
    clock.after(4, () => write("d"));
    clock.after(20, () => write("e"));
    await clock.runFor(100);
    expect(ended).toEqual([
      ["a", 5],
      ["b", 5],
      ["c", 10],
      ["d", 10],
      ["e", 25],
    ]);
  });

  test("powerLoss: keeps what was synced, loses the rest; the dead store never answers", async () => {
    const clock = new VirtualClock();
    const disk = new MemoryDisk();
    const store = openMemoryStore(disk, clock, { syncMs: 5 });
    await clock.settle(store.write([row("synced")]));
    let answered = 0;
    const count = (): void => {
      answered++;
    };
    store.write([row("syncing")]).then(count, count);
    await clock.runFor(4);
    store.write([row("waiting")]).then(count, count);
    store.settled().then(count, count);
    disk.powerLoss();
    expect(() => store.get("synced")).toThrow("power was lost");
    await expect(store.write([row("late")])).rejects.toThrow("power was lost");
    await expect(store.range({ from: "", to: "z", limit: 1 })).rejects.toThrow("power was lost");
    await store.close();
    const next = openMemoryStore(disk, clock, { syncMs: 5 });
    await clock.runFor(100);
    expect(answered).toBe(0);
    const rows = await next.range({ from: "", to: "z", limit: 9 });
    expect(rows.map(({ key, value }) => [key, text(value)])).toEqual([["synced", "synced"]]);
  });

  test("powerLoss: of a sync under way whole batches are on the disk or not, never a part of one", async () => {
    for (const reached of [0, 1, 2, 3]) {
      const clock = new VirtualClock();
      const disk = new MemoryDisk();
      const store = openMemoryStore(disk, clock, { syncMs: 5 });
      for (const name of ["a", "b", "c"])
        void store.write([row(`${name}/1`), row(`${name}/2`), row(`${name}/3`)]);
      await clock.runFor(4);
      void store.write([row("waiting")]);
      disk.powerLoss((batches) => {
        expect(batches.map((batch) => batch.length)).toEqual([3, 3, 3]);
        return batches.slice(0, reached);
      });
      const next = openMemoryStore(disk, clock, { syncMs: 5 });
      const rows = await next.range({ from: "", to: "z", limit: 99 });
      const whole = ["a", "b", "c"].slice(0, reached);
      expect(rows.map(({ key }) => key)).toEqual(
        whole.flatMap((n) => [1, 2, 3].map((i) => `${n}/${i}`)),
      );
    }
  });

  test("refusal: rejects the writers and writes nothing", async () => {
    const clock = new VirtualClock();
    const disk = new MemoryDisk();
    const store = openMemoryStore(disk, clock, { syncMs: 1 });
    disk.refusal = new RingstowError("DiskFull");
    await expect(clock.settle(store.write([row("a")]))).rejects.toMatchObject({ code: "DiskFull" });
    expect(store.get("a")).toBeUndefined();
    disk.refusal = undefined;
    await clock.settle(store.write([row("a")]));
    expect(text(store.get("a"))).toBe("a");
  });
});
