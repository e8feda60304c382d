import { describe, expect, test } from "vitest";
import { type NodeId } from "../../../shared/ids.ts";
import {
  initRing,
  joinRing,
  localFaults,
  mustCheckPredecessor,
  type Neighbours,
  offerCandidate,
  type Pointer,
  rectify,
  type RingState,
  stabilize,
  stabilizeCandidate,
} from "../../../node/route/ring-state.ts";

/** The node at position n of a ring of 256, in some life. */
const at = (position: number, life = 1): Pointer => ({
  id: (position.toString(16).padStart(2, "0") + "0".repeat(30)) as NodeId,
  life,
});
const ids = (pointers: readonly Pointer[]) =>
  pointers.map((each) => Number(`0x${each.id.slice(0, 2)}`));
const stateAt = (own: number, successors: number[], predecessor: number): RingState => ({
  self: at(own),
  successors: successors.map((each) => at(each)),
  predecessor: at(predecessor),
  candidate: undefined,
});
const answer = (own: number, successors: number[], predecessor?: number): Neighbours => ({
  self: at(own),
  successors: successors.map((each) => at(each)),
  predecessor: predecessor === undefined ? undefined : at(predecessor),
});

describe("initRing", () => {
  test("gives every member the right neighbours, around zero too", () => {
    const after = [40, 10, 20].map((each) => at(each).id);
    const state = initRing(at(30), after, at(20).id, 3);
    expect(ids(state.successors)).toEqual([40, 10, 20]);
    expect(ids([state.predecessor!])).toEqual([20]);
    expect(localFaults(state, 3)).toEqual([]);
  });

  test("refuses fewer than r + 1 members (Zave section 4.4)", () => {
    const after = [40, 10, 20].map((each) => at(each).id);
    expect(() => initRing(at(30), after, at(20).id, 4)).toThrow("5 members");
    expect(() => initRing(at(30), [...after, at(30).id], at(20).id, 4)).toThrow("5 members");
  });
});

describe("joinRing (Zave section 3.2)", () => {
  test("takes the whole successor list and the predecessor at once", () => {
    const joined = joinRing(at(15), answer(10, [20, 30, 40]))!;
    expect(ids(joined.successors)).toEqual([20, 30, 40]);
    expect(joined.predecessor).toEqual(at(10));
  });

  test("fails when a second joiner took the gap's first half meanwhile", () => {
    expect(joinRing(at(15), answer(10, [12, 20, 30]))).toBeUndefined();
  });

  test("fails when the position is taken", () => {
    expect(joinRing(at(20), answer(10, [20, 30, 40]))).toBeUndefined();
  });

  test("joins across zero", () => {
    expect(ids(joinRing(at(2), answer(250, [10, 20, 30]))!.successors)).toEqual([10, 20, 30]);
  });
});

describe("stabilize (Zave section 3.3)", () => {
  const state = stateAt(10, [20, 30, 40], 5);

  test("takes over the successor's list and notifies it", () => {
    const step = stabilize(state, answer(20, [25, 30, 40], 10));
    expect(ids(step.state.successors)).toEqual([20, 25, 30]);
    expect(step.notify).toEqual(at(20));
    expect(step.state.candidate).toBeUndefined();
  });

  test("a nearer predecessor of the successor is a candidate only, and nobody is notified yet", () => {
    const step = stabilize(state, answer(20, [30, 40, 50], 15));
    expect(ids(step.state.successors)).toEqual([20, 30, 40]);
    expect(step.state.candidate).toEqual(at(15));
    expect(step.notify).toBeUndefined();
  });

  test("drops a failed successor, keeps r entries, notifies the next", () => {
    const step = stabilize(state, "failed");
    expect(step.state.successors.map((each) => each.id)).toEqual([
      at(30).id,
      at(40).id,
      `28${"0".repeat(29)}1`,
    ]);
    expect(step.notify).toEqual(at(30));
    expect(localFaults(step.state, 3)).toEqual([]);
  });

  test("learns the life of a successor that INIT only knew by id", () => {
    const fresh = { ...state, successors: [at(20, 0), at(30, 0), at(40, 0)] };
    const step = stabilize(fresh, { ...answer(20, [30, 40, 50], 10), self: at(20, 7) });
    expect(step.state.successors[0]).toEqual(at(20, 7));
  });
});

describe("stabilizeCandidate (Zave section 3.3)", () => {
  const state: RingState = { ...stateAt(10, [20, 30, 40], 5), candidate: at(15) };

  test("adopts a candidate that answers", () => {
    const step = stabilizeCandidate(state, answer(15, [20, 30, 40]));
    expect(ids(step.state.successors)).toEqual([15, 20, 30]);
    expect(step.notify).toEqual(at(15));
  });

  test("keeps the list when the candidate died before STABILIZE-2, and notifies the old successor", () => {
    const step = stabilizeCandidate(state, "failed");
    expect(ids(step.state.successors)).toEqual([20, 30, 40]);
    expect(step.state.candidate).toBeUndefined();
    expect(step.notify).toEqual(at(20));
  });

  test("drops a candidate that lies behind the successor by now", () => {
    const moved = { ...state, successors: [at(12), at(20), at(30)] };
    const step = stabilizeCandidate(moved, answer(15, [20, 30, 40]));
    expect(ids(step.state.successors)).toEqual([12, 20, 30]);
    expect(step.notify).toBeUndefined();
  });
});

describe("rectify (Zave section 3.3)", () => {
  const state = stateAt(20, [30, 40, 50], 10);

  test("adopts a nearer predecessor without a check", () => {
    expect(mustCheckPredecessor(state, at(15))).toBe(false);
    expect(rectify(state, at(15), false).predecessor).toEqual(at(15));
  });

  test("adopts a farther one only when the predecessor failed", () => {
    expect(mustCheckPredecessor(state, at(5))).toBe(true);
    expect(rectify(state, at(5), false).predecessor).toEqual(at(10));
    expect(rectify(state, at(5), true).predecessor).toEqual(at(5));
  });

  test("ignores a stale notify of an older life, takes over a newer one", () => {
    expect(rectify(state, at(10, 0), true).predecessor).toEqual(at(10, 1));
    expect(rectify(state, at(10, 3), false).predecessor).toEqual(at(10, 3));
  });

  test("takes the first notify when there is no predecessor, never itself", () => {
    const fresh = { ...state, predecessor: undefined };
    expect(rectify(fresh, at(5), false).predecessor).toEqual(at(5));
    expect(rectify(fresh, at(20), false).predecessor).toBeUndefined();
  });
});

test("offerCandidate takes only what lies before the first successor", () => {
  const state = stateAt(10, [20, 30, 40], 5);
  expect(offerCandidate(state, at(15, 0)).candidate).toEqual(at(15, 0));
  expect(offerCandidate(state, at(25, 0)).candidate).toBeUndefined();
  expect(offerCandidate(state, at(20, 0)).candidate).toBeUndefined();
});

const faultsOf = (successors: number[]) => localFaults(stateAt(10, successors, 5), 3);

test("localFaults finds own id, duplicates, disorder and short lists (Z7, Z8, Z11)", () => {
  expect(faultsOf([20, 200, 5])).toEqual([]);
  expect(faultsOf([20, 30, 10])).toContain("Z11 list of r others");
  expect(faultsOf([20, 30])).toContain("Z11 list of r others");
  expect(faultsOf([20, 20, 30])).toContain("Z7 no duplicates");
  expect(faultsOf([30, 20, 40])).toEqual(["Z8 ordered list"]);
});
