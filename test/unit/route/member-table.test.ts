import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type FolderId, type NodeId } from "../../../shared/ids.ts";
import { type MemberRow, MemberTable, mergeRow } from "../../../node/route/member-table.ts";
import { partsOf } from "../../../node/route/table-part.ts";

const id = (digit: string) => digit.repeat(32) as NodeId;
const row = (changes: Partial<MemberRow> = {}): MemberRow => ({
  id: id("b"),
  folder: "0".repeat(16) as FolderId,
  url: "https://b.test",
  peerAddress: "b:1",
  zone: "z",
  position: undefined,
  capacityBytes: 0,
  freeBytes: 0,
  incarnation: 1,
  state: "alive",
  sinceMs: 0,
  stamp: 0,
  ...changes,
});

/** Any row about one node: what it says is a function of (incarnation, stamp), as only the node itself writes it. */
const anyRow = fc
  .record({
    incarnation: fc.integer({ min: 0, max: 2 }),
    stamp: fc.integer({ min: 0, max: 2 }),
    state: fc.constantFrom("alive", "suspect", "dead", "left"),
  })
  .map((part) => row({ ...part, freeBytes: part.incarnation * 10 + part.stamp }));

describe("mergeRow", () => {
  test("is commutative, associative and idempotent", () => {
    fc.assert(
      fc.property(anyRow, anyRow, anyRow, (a, b, c) => {
        expect(mergeRow(a, b)).toEqual(mergeRow(b, a));
        expect(mergeRow(mergeRow(a, b), c)).toEqual(mergeRow(a, mergeRow(b, c)));
        expect(mergeRow(a, a)).toBe(a);
      }),
    );
  });

  test("prefers the incarnation, then the worse state (SWIM section 4.2)", () => {
    const dead = row({ state: "dead" });
    expect(mergeRow(dead, row()).state).toBe("dead");
    expect(mergeRow(row(), row({ state: "suspect" })).state).toBe("suspect");
    expect(mergeRow(dead, row({ incarnation: 2 })).state).toBe("alive");
    expect(mergeRow(row({ incarnation: 2 }), dead).state).toBe("alive");
  });

  test("takes what a node newly says of itself without touching its state", () => {
    const merged = mergeRow(row({ state: "suspect" }), row({ stamp: 4, freeBytes: 9 }));
    expect(merged).toMatchObject({ state: "suspect", freeBytes: 9, stamp: 4 });
  });
});

describe("MemberTable", () => {
  const self = row({ id: id("a"), incarnation: 3 });
  const tableOf = (...rows: MemberRow[]) => {
    const table = new MemberTable(self);
    for (const each of rows) table.apply(each);
    return table;
  };

  test("live() leaves out dead and left members and is sorted", () => {
    const table = tableOf(
      row({ id: id("f") }),
      row({ id: id("1"), state: "suspect" }),
      row({ id: id("2"), state: "dead" }),
      row({ id: id("3"), state: "left" }),
    );
    expect(table.live().map((each) => each.id)).toEqual([id("1"), id("a"), id("f")]);
    expect(table.rows()).toHaveLength(5);
  });

  test.each(["suspect", "dead", "left"] as const)("refutes %s about itself", (state) => {
    const table = tableOf();
    const change = table.apply({ ...self, state });
    expect(change?.row).toMatchObject({ state: "alive", incarnation: 4 });
    expect(table.apply({ ...self, state })).toBeUndefined();
  });

  test("goes above the incarnation of its earlier life, and above another folder under its id", () => {
    expect(tableOf({ ...self, incarnation: 9 }).self.incarnation).toBe(10);
    const other = { ...self, folder: "f".repeat(16) as FolderId };
    expect(tableOf(other).self).toMatchObject({ incarnation: 4, folder: self.folder });
  });

  test("apply says nothing when nothing is new", () => {
    const table = tableOf(row());
    expect(table.apply(row())).toBeUndefined();
    expect(table.apply(row({ incarnation: 0, state: "dead" }))).toBeUndefined();
  });

  test("digests differ exactly in the parts whose rows differ", () => {
    const a = tableOf(row(), row({ id: id("c") }));
    const b = tableOf(row({ id: id("c") }), row());
    expect(a.digests()).toEqual(b.digests());
    b.apply(row({ state: "suspect" }));
    const parts = a.digests().flatMap((each, part) => (each === b.digests()[part] ? [] : [part]));
    expect(parts).toEqual([0xbb]);
    expect(a.part(0xbb).map((each) => each.id)).toEqual([id("b")]);
    expect(a.digest()).not.toBe(b.digest());
    a.apply(row({ state: "suspect" }));
    expect(a.digest()).toBe(b.digest());
  });

  test("remove never forgets this node", () => {
    const table = tableOf(row());
    table.remove(id("a"));
    table.remove(id("b"));
    expect(table.rows()).toEqual([self]);
  });

  test("leave() makes this node left; nothing that is said of this life makes it come back", () => {
    const table = tableOf(row());
    expect(table.leave(7)?.row).toMatchObject({ state: "left", incarnation: 3, sinceMs: 7 });
    expect(table.leave(8)).toBeUndefined();
    for (const state of ["alive", "suspect", "dead", "left"] as const)
      expect(table.apply({ ...self, state })).toBeUndefined();
    expect(table.live().map((each) => each.id)).toEqual([id("b")]);
    // Who says that a later life of it died is told that this one left after it.
    expect(table.apply({ ...self, state: "dead", incarnation: 4 })?.row).toMatchObject({
      state: "left",
      incarnation: 5,
    });
  });

  test("walks, counts and places agree with the sorted list, whatever was applied and removed", () => {
    const digits = fc.constantFrom(..."0123456789abcdef".split(""));
    const anyId = fc
      .tuple(digits, digits, digits)
      .map(([a, b, c]) => (a + b + "0".repeat(29) + c) as NodeId);
    const anyChange = fc.record({
      id: anyId,
      state: fc.constantFrom("alive", "suspect", "dead", "left"),
      remove: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(anyChange, { maxLength: 40 }), anyId, (changes, point) => {
        const table = tableOf();
        const model = new Map<string, MemberRow>([[self.id, self]]);
        for (const [incarnation, { id: of, state, remove }] of changes.entries()) {
          if (of === self.id) continue;
          if (remove) table.remove(of);
          else table.apply(row({ id: of, state, incarnation: incarnation + 1 }));
          if (remove) model.delete(of);
          else model.set(of, row({ id: of, state, incarnation: incarnation + 1 }));
        }
        const rows = [...model.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1));
        const live = rows.filter((each) => each.state === "alive" || each.state === "suspect");
        expect(table.rows()).toEqual(rows);
        expect(table.live()).toEqual(live);
        expect([table.size, table.liveCount]).toEqual([rows.length, live.length]);
        expect(live.map((_, index) => table.liveAt(index))).toEqual(live);
        expect(table.gone()).toEqual(rows.filter((each) => !live.includes(each)));
        const after = live.filter((each) => each.id >= point);
        const before = live.filter((each) => each.id < point);
        expect([...table.liveFrom(point)]).toEqual([...after, ...before]);
        expect([...table.liveBefore(point)]).toEqual([...after, ...before].toReversed());
        for (const each of rows) expect(table.find(each.id)).toEqual(each);
        const again = new MemberTable(self, partsOf(rows));
        expect(again.digest()).toBe(table.digest());
        expect(again.digests()).toEqual(table.digests());
      }),
    );
  });

  test("tables that begin with the same parts do not change each other", () => {
    const parts = partsOf([row(), row({ id: id("c") })]);
    const [a, b] = [new MemberTable(self, parts), new MemberTable(self, parts)];
    a.apply(row({ state: "dead" }));
    expect(a.find(id("b"))?.state).toBe("dead");
    expect(b.find(id("b"))?.state).toBe("alive");
    expect([a.liveCount, b.liveCount]).toEqual([2, 3]);
  });
});
