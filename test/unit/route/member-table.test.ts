import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type FolderId, type NodeId } from "../../../shared/ids.ts";
import { type MemberRow, MemberTable, mergeRow } from "../../../node/route/member-table.ts";

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
    expect(a.rowsOf(new Set(parts)).map((each) => each.id)).toEqual([id("b")]);
  });

  test("remove never forgets this node", () => {
    const table = tableOf(row());
    table.remove(id("a"));
    table.remove(id("b"));
    expect(table.rows()).toEqual([self]);
  });
});
