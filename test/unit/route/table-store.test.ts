import { describe, expect, test } from "vitest";
import { RingstowError } from "../../../shared/errors.ts";
import { type FolderId, type NodeId } from "../../../shared/ids.ts";
import { type Log } from "../../../node/ports.ts";
import { type MemberRow } from "../../../node/route/member-table.ts";
import { loadTable, TableStore } from "../../../node/route/table-store.ts";
import { MemoryDisk, openMemoryStore } from "../../../node/runtime/memory-store.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";

const row = (digit: string, position?: MemberRow["position"]): MemberRow => ({
  id: digit.repeat(32) as NodeId,
  folder: "0".repeat(16) as FolderId,
  url: "https://x.test",
  peerAddress: "x:1",
  zone: "z",
  position,
  capacityBytes: 5,
  freeBytes: 4,
  incarnation: 3,
  state: "alive",
  sinceMs: 17,
  stamp: 2,
});

function setUp(rows: MemberRow[]) {
  const clock = new VirtualClock();
  const disk = new MemoryDisk();
  const store = openMemoryStore(disk, clock, { syncMs: 1 });
  const warnings: string[] = [];
  const log: Log = { info: () => {}, warn: (event) => warnings.push(event), error: () => {} };
  const find = (id: NodeId) => rows.find((each) => each.id === id);
  return { clock, disk, store, warnings, log, saved: new TableStore({ store, clock, log, find }) };
}

describe("TableStore", () => {
  test("writes many changes in one batch, and loadTable reads them back", async () => {
    const rows = [row("a"), row("b", { latitude: 1.5, longitude: -2 })];
    const { clock, store, log, saved } = setUp(rows);
    for (const each of rows) saved.touch(each.id);
    await clock.run(5_000);
    expect(await loadTable(store, log)).toEqual(rows);
  });

  test("deletes the row of a forgotten member", async () => {
    const rows = [row("a")];
    const { clock, store, log, saved } = setUp(rows);
    saved.touch(rows[0]!.id);
    await clock.run(5_000);
    saved.touch(rows.pop()!.id);
    await clock.run(10_000);
    expect(await loadTable(store, log)).toEqual([]);
  });

  test("leaves damaged rows out and says so", async () => {
    const { clock, store, log, warnings } = setUp([]);
    const value = new TextEncoder().encode('{"id":"no"}');
    await clock.settle(
      store.write([
        { key: "t/x", value },
        { key: "t/y", value: new Uint8Array(2) },
      ]),
    );
    expect(await loadTable(store, log)).toEqual([]);
    expect(warnings).toHaveLength(2);
  });

  test("tries again when the disk refuses", async () => {
    const rows = [row("a")];
    const { clock, disk, store, log, saved, warnings } = setUp(rows);
    disk.refusal = new RingstowError("DiskFull");
    saved.touch(rows[0]!.id);
    await clock.run(1_500);
    expect(warnings).toHaveLength(1);
    disk.refusal = undefined;
    await clock.run(10_000);
    expect(await loadTable(store, log)).toEqual(rows);
  });
});
