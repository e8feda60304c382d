import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type NodeId } from "../../../shared/ids.ts";
import { arcLength, toRingId } from "../../../shared/ring.ts";
import { desiredNodes } from "../../../node/route/desired.ts";
import { chooseGap, gapsOf, middleOf } from "../../../node/route/gaps.ts";
import { copiesFor, Rumours } from "../../../node/route/rumours.ts";
import { type Member } from "../../../node/route/types.ts";

const id = (top: number) => (top.toString(16).padStart(2, "0") + "0".repeat(30)) as NodeId;
const member = (top: number, zone: string) => ({ id: id(top), zone }) as Member;

describe("desiredNodes", () => {
  const live = [
    member(10, "a"),
    member(20, "a"),
    member(30, "b"),
    member(40, "b"),
    member(50, "c"),
  ];
  const walkFrom = (point: number) => {
    const at = live.findIndex((each) => each.id >= id(point));
    return at < 0 ? live : [...live.slice(at), ...live.slice(0, at)];
  };
  const tops = (point: number, count: number) =>
    desiredNodes(walkFrom(point), count, 3).map((each) => Number.parseInt(each.id.slice(0, 2), 16));

  test("takes the first nodes at or after the point in distinct zones", () => {
    expect(tops(10, 3)).toEqual([10, 30, 50]);
    expect(tops(20, 3)).toEqual([20, 30, 50]);
  });

  test("wraps past zero", () => {
    expect(tops(60, 2)).toEqual([10, 30]);
    expect(tops(45, 2)).toEqual([50, 10]);
  });

  test("fills up from zones taken already when zones are too few", () => {
    expect(tops(10, 4)).toEqual([10, 30, 50, 20]);
    expect(tops(10, 9)).toEqual([10, 30, 50, 20, 40]);
    expect(desiredNodes([], 3, 0)).toEqual([]);
  });

  test("reads no more of the walk than it needs, with few zones too", () => {
    let read = 0;
    const walk = function* () {
      for (let number = 0; number < 10_000; number++, read++)
        yield member(number % 200, number < 9_000 ? "a" : "b");
    };
    expect(desiredNodes(walk(), 3, 1)).toHaveLength(3);
    expect(read).toBeLessThan(5);
    expect(desiredNodes(walk(), 2, 2).map((each) => each.zone)).toEqual(["a", "b"]);
  });
});

describe("gapsOf, chooseGap, middleOf", () => {
  test("the largest gap is halved, and its owner sits at its end", () => {
    const gap = chooseGap(gapsOf([id(0), id(64), id(240)], []), id(240), new Set());
    expect(gap).toMatchObject({ from: id(64), owner: id(240) });
    expect(middleOf(gap, 0n).slice(0, 2)).toBe((152).toString(16));
  });

  test("pending grants split a gap; their owner is the next live node", () => {
    const gaps = gapsOf([id(0), id(128)], [id(64)]);
    expect(gaps[0]).toMatchObject({ from: id(128), owner: id(0) });
    expect(gaps.filter((gap) => gap.owner === id(128))).toHaveLength(2);
  });

  test("an owner that was asked is not sent the joiner again", () => {
    const gaps = gapsOf([id(0), id(64), id(240)], []);
    expect(chooseGap(gaps, id(64), new Set([id(240)])).owner).toBe(id(64));
  });

  test("a single node owns the whole ring", () => {
    const gap = gapsOf([id(7)], [])[0]!;
    expect(gap.length).toBe(1n << 128n);
    expect(middleOf(gap, 5n)).toBe(`87${"0".repeat(29)}5`);
  });

  test("the granted id lies strictly inside the gap", () => {
    const position = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });
    fc.assert(
      fc.property(
        position,
        fc.bigInt(2n, 1n << 128n),
        fc.bigInt(0n, (1n << 64n) - 1n),
        (from, length, low) => {
          const start = toRingId(from);
          const granted = middleOf({ from: start, length, owner: id(0) }, low);
          expect(granted).not.toBe(start);
          expect(arcLength(start, granted) < length).toBe(true);
        },
      ),
    );
  });
});

describe("Rumours", () => {
  test("sends each change a bounded number of times, the freshest first", () => {
    const rumours = new Rumours();
    rumours.add(id(1), 5);
    expect(rumours.take(4)).toEqual([id(1)]);
    rumours.add(id(2), 5);
    expect(rumours.take(1)).toEqual([id(2)]);
    let sent = 2;
    while (rumours.size > 0) sent += rumours.take(1).length;
    expect(sent).toBe(2 * copiesFor(5));
    expect(rumours.take(4)).toEqual([]);
  });
});
