// What a block wants done, by who holds it and who is there.
import { describe, expect, test } from "vitest";
import { type Health, type Holders, planRepair } from "../../../node/index/repair-plan.ts";
import { type BlockId, parseNodeId } from "../../../shared/ids.ts";

const nodes = ["a", "b", "c", "d", "e"].map((digit) => parseNodeId(digit.repeat(32)));
const ids = (names: string) => names.split("").map((name) => parseNodeId(name.repeat(32)));
const id = (name: string) => ids(name)[0]!;
const holders = (newest: string, behind = "", former = ""): Holders => ({
  newest: ids(newest),
  behind: ids(behind),
  former: ids(former),
});
/** Five nodes: some down a moment ago, some lost. */
const health = ({
  down = "",
  suspect = "",
  lost = "",
  copies = 3,
  all = "abcde",
  zones = "12345",
} = {}): Health => {
  const gone = new Set([...ids(down), ...ids(lost)]);
  const live = new Set(nodes.filter((node) => ids(all).includes(node) && !gone.has(node)));
  return {
    copies,
    live,
    able: new Set([...live].filter((node) => !ids(suspect).includes(node))),
    isLost: (node) => ids(lost).includes(node),
    zoneOf: (node) => zones[nodes.indexOf(node)],
  };
};
const plan = (of: Holders, how: Health, bad = "") =>
  planRepair(of, how, { bad: new Set(ids(bad)) });

describe("planRepair", () => {
  test("leaves alone what is whole, and what waits for a node that may come back", () => {
    expect(plan(holders("abc"), health())).toBeUndefined();
    expect(plan(holders("abc"), health({ down: "a" }))).toBeUndefined();
    expect(plan(holders("ab", "c"), health({ down: "c" }))).toBeUndefined();
    expect(plan(holders("ab", "c"), health({ suspect: "c" }))).toBeUndefined();
    expect(plan(holders("ab"), health({ suspect: "cde" }))).toBeUndefined();
  });

  test("replaces a lost copy, a lost one that is behind too", () => {
    expect(plan(holders("abc"), health({ lost: "b" }))).toEqual({ kind: "copy", instead: id("b") });
    expect(plan(holders("ab", "c"), health({ lost: "c" }))).toEqual({
      kind: "copy",
      instead: id("c"),
    });
    expect(plan(holders("abcd"), health({ lost: "b" }))).toEqual({
      kind: "drop",
      instead: id("b"),
      keep: ids("acd"),
    });
  });

  test("has nothing to do without a good copy, or without a node for one more", () => {
    expect(plan(holders("abc"), health({ lost: "abc" }))).toBeUndefined();
    expect(plan(holders("abc"), health({ down: "a", lost: "bc" }))).toBeUndefined();
    expect(plan(holders("abc"), health({ lost: "c", all: "abc" }))).toBeUndefined();
    expect(plan(holders("a", "b"), health(), "a")).toBeUndefined();
    // A node that must delete a former copy first is no place.
    expect(plan(holders("abc", "", "d"), health({ lost: "c", all: "abcd" }))).toEqual({
      kind: "release",
      node: id("d"),
    });
  });

  test("mends a copy that is behind or bad where it is, before anything else", () => {
    expect(plan(holders("ab", "c"), health())).toEqual({ kind: "copy", onto: id("c") });
    expect(plan(holders("abc"), health(), "b")).toEqual({ kind: "copy", onto: id("b") });
    expect(plan(holders("abc"), health({ lost: "c" }), "b")).toEqual({
      kind: "copy",
      onto: id("b"),
    });
  });

  test("adds what is missing, drops what is too many, releases what was replaced", () => {
    expect(plan(holders("ab"), health())).toEqual({ kind: "copy" });
    expect(plan(holders("ab"), health({ copies: 2 }))).toBeUndefined();
    // By the block's id, which is as good as random: here it is the first.
    expect(plan(holders("abcd"), health())).toEqual({
      kind: "drop",
      instead: id("a"),
      keep: ids("bcd"),
    });
    expect(plan(holders("abcd"), health({ down: "a" }))).toBeUndefined();
    expect(plan(holders("abc", "", "d"), health())).toEqual({ kind: "release", node: id("d") });
    expect(plan(holders("abc", "", "d"), health({ down: "d" }))).toBeUndefined();
  });

  test("drops what is too many from each node in turn, and keeps a copy in every zone", () => {
    const blocks = Array.from(
      { length: 1_000 },
      (_, i) => `${i.toString(16).padStart(8, "0")}${"0".repeat(24)}` as BlockId,
    );
    const dropped = (of: Holders, how: Health): Map<string, number> => {
      const counts = new Map<string, number>();
      for (const block of blocks) {
        const step = planRepair(of, how, { block });
        expect(step).toEqual(planRepair(of, how, { block }));
        if (step?.kind !== "drop") throw new Error(`Cannot count ${step?.kind}`);
        counts.set(step.instead[0]!, (counts.get(step.instead[0]!) ?? 0) + 1);
      }
      return counts;
    };
    const even = dropped(holders("abcde"), health());
    expect([...even.keys()].toSorted().join("")).toBe("abcde");
    for (const count of even.values()) expect(count).toBe(200);
    const zoned = dropped(holders("abcd"), health({ zones: "1212" }));
    expect(zoned.size).toBe(4);
    const two = dropped(holders("abcd"), health({ zones: "1233" }));
    expect([...two.keys()].toSorted().join("")).toBe("cd");
    // A copy that cannot be read now is none to count on: it is not the one that is dropped, nor is there one too many.
    expect(plan(holders("abcde"), health({ down: "ab" }))).toBeUndefined();
    const oneDown = dropped(holders("abcde"), health({ down: "b" }));
    expect([...oneDown.keys()].toSorted().join("")).toBe("acde");
  });

  test("has nothing to do for five copies on four nodes, and makes two more on five", () => {
    expect(plan(holders("abcd"), health({ copies: 5, all: "abcd" }))).toBeUndefined();
    expect(plan(holders("abc"), health({ copies: 5 }))).toEqual({ kind: "copy" });
    expect(plan(holders("abcd"), health({ copies: 5 }))).toEqual({ kind: "copy" });
    expect(plan(holders("abc", "", "de"), health({ copies: 5 }))).toEqual({
      kind: "release",
      node: id("d"),
    });
  });
});
