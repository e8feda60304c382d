// Pointers of a block under repair: only what was seen is changed, and a replaced copy is never a replica.
import { describe, expect, test } from "vitest";
import { changePointers } from "../../../node/index/block-pointers.ts";
import { samePointers, withFormer } from "../../../node/index/types.ts";
import { type BlockId, parseNodeId } from "../../../shared/ids.ts";
import { type BlockRef } from "../../../shared/records.ts";

const [A, B, C, D, E] = ["a", "b", "c", "d", "e"].map((digit) => parseNodeId(digit.repeat(32)));
const ID = "1".repeat(32) as BlockId;
const block = (versions: Record<string, number>, former?: BlockRef["former"]): BlockRef => ({
  id: ID,
  size: 1,
  replicas: Object.entries(versions).map(([node, version]) => ({ node: node as never, version })),
  ...(former ? { former } : {}),
});
const three = block({ [A!]: 2, [B!]: 2, [C!]: 2 });

const repair = (on: BlockRef, node?: string, instead?: string, seen = on.replicas) =>
  changePointers(on, {
    type: "repair",
    block: ID,
    seen,
    node: node as never,
    instead: instead as never,
  });

describe("repair", () => {
  test("puts a node in another's place, which is kept as a former one", () => {
    expect(repair(three, D, C)).toEqual(block({ [A!]: 2, [B!]: 2, [D!]: 2 }, [C!]));
  });

  test("adds a copy, raises one that is behind, drops one that is too many", () => {
    expect(repair(block({ [A!]: 2, [B!]: 2 }), C)).toEqual(three);
    expect(repair(block({ [A!]: 2, [B!]: 2, [C!]: 0 }), C)).toEqual(three);
    expect(repair(three, undefined, C)).toEqual(block({ [A!]: 2, [B!]: 2 }, [C!]));
  });

  test("changes nothing when the pointers are others than were seen, in number, node or version", () => {
    for (const seen of [
      block({ [A!]: 2, [B!]: 2 }),
      block({ [A!]: 2, [B!]: 2, [D!]: 2 }),
      block({ [A!]: 2, [B!]: 2, [C!]: 1 }),
    ])
      expect(repair(three, E, C, seen.replicas)).toBe(three);
    expect(changePointers(three, { type: "repair", block: "2" as never, seen: [] })).toBe(three);
    expect(repair(three, A)).toBe(three);
    expect(repair(three, undefined, D)).toBe(three);
  });

  test("a node whose former copy waits for deletion is no replica, whoever says so", () => {
    const replaced = repair(three, D, C);
    expect(repair(replaced, C, D)).toBe(replaced);
    expect(changePointers(replaced, { type: "addPointer", block: ID, node: C! })).toBe(replaced);
    const released = changePointers(replaced, { type: "released", block: ID, node: C! });
    expect(released).toEqual(block({ [A!]: 2, [B!]: 2, [D!]: 2 }));
    expect(repair(released, C, D)).toEqual(block({ [A!]: 2, [B!]: 2, [C!]: 2 }, [D!]));
    expect(changePointers(released, { type: "released", block: ID, node: C! })).toBe(released);
  });

  test("the last copy of the newest bytes stays", () => {
    const last = block({ [A!]: 2, [B!]: 1 });
    expect(repair(last, undefined, A)).toBe(last);
    expect(repair(last, C, A)).toEqual(block({ [B!]: 1, [C!]: 2 }, [A!]));
  });
});

test("withFormer points to every node that may hold a copy", () => {
  expect(withFormer(three)).toEqual(three);
  expect(withFormer(block({ [A!]: 2 }, [B!, C!]))).toEqual(block({ [A!]: 2, [B!]: 0, [C!]: 0 }));
});

test("samePointers knows no order", () => {
  expect(samePointers(three.replicas, three.replicas.toReversed())).toBe(true);
  expect(samePointers(three.replicas, three.replicas.slice(1))).toBe(false);
});
