// Ring maintenance as pure steps: Zave, "How to Make Chord Correct" (arXiv 1502.06461, sections 4 and 5), which repairs
// Stoica's Chord (2001). Each function is one "ask + local update" of the paper; the driver (ring.ts) does the asking.
// Invariant kept by every step while a ring has r + 1 principals: localFaults() of the new state is empty.
import { assert } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import { advance, between } from "../../shared/ring.ts";

/** A neighbour in one of its lives: the incarnation with which it joined; 0 when it was never heard from. */
export interface Pointer {
  readonly id: NodeId;
  readonly life: number;
}

/** What a member of a ring knows. `successors` has exactly r entries, some perhaps dead or made up. */
export interface RingState {
  readonly self: Pointer;
  readonly successors: readonly Pointer[];
  readonly predecessor: Pointer | undefined;
  /** Phase stabilizing(q): the candidate that must answer before it is adopted. */
  readonly candidate: Pointer | undefined;
}

/** What a member answers to a state query. */
export interface Neighbours {
  readonly self: Pointer;
  readonly successors: readonly Pointer[];
  readonly predecessor: Pointer | undefined;
}

/** "failed": certainly not a member in that life. Silence alone is no failure; the failure detector decides. */
export type Answer = Neighbours | "failed";

export interface Step {
  readonly state: RingState;
  /** Whom to notify of this node, if anybody. */
  readonly notify: Pointer | undefined;
}

/**
 * INIT: the ring of some members that all know each other.
 * @param successors the r members after this one in clockwise order; there are at least r + 1 members
 */
export function initRing(
  self: Pointer,
  successors: readonly NodeId[],
  predecessor: NodeId,
  r: number,
): RingState {
  const isWhole = successors.length === r && !successors.includes(self.id);
  assert(isWhole, `a ring starts with ${r + 1} members, ${self.id} among them`);
  const expected = (id: NodeId): Pointer => ({ id, life: 0 });
  return {
    self,
    successors: successors.map(expected),
    predecessor: expected(predecessor),
    candidate: undefined,
  };
}

/** JOIN: undefined when `member` is not the joiner's predecessor-to-be any more; then it looks again. */
export function joinRing(self: Pointer, member: Neighbours): RingState | undefined {
  const next = member.successors[0]!;
  if (!between(member.self.id, self.id, next.id)) return undefined;
  // The whole list at once: a joiner with a short list breaks the ring when its first successor dies (section 4.1).
  return {
    self,
    successors: member.successors,
    predecessor: member.self,
    candidate: undefined,
  };
}

/** STABILIZE: `answer` came from the first successor. */
export function stabilize(state: RingState, answer: Answer): Step {
  const { self, successors } = state;
  if (answer === "failed") {
    const last = successors.at(-1)!;
    // A made-up last entry keeps the list at r; it never answers and is replaced by the next stabilization.
    const padding: Pointer = { id: advance(last.id, 1n) as NodeId, life: 0 };
    const next = { ...state, successors: [...successors.slice(1), padding], candidate: undefined };
    return { state: next, notify: next.successors[0] };
  }
  const first = answer.self;
  const next = {
    ...state,
    successors: [first, ...answer.successors.slice(0, successors.length - 1)],
    candidate: undefined,
  };
  const closer = answer.predecessor;
  if (closer && between(self.id, closer.id, first.id)) {
    return { state: { ...next, candidate: closer }, notify: undefined };
  }
  return { state: next, notify: first };
}

/**
 * STABILIZE-2: `answer` came from the candidate. It is adopted only because it answered: an unchecked pointer may be
 * dead (section 4.2). A candidate that no longer lies before the first successor is dropped.
 */
export function stabilizeCandidate(state: RingState, answer: Answer): Step {
  const { self, successors, candidate } = state;
  const idle = { ...state, candidate: undefined };
  if (!candidate || !between(self.id, candidate.id, successors[0]!.id)) {
    return { state: idle, notify: undefined };
  }
  if (answer === "failed") return { state: idle, notify: successors[0] };
  const adopted = [answer.self, ...answer.successors.slice(0, successors.length - 1)];
  return { state: { ...idle, successors: adopted }, notify: answer.self };
}

/** Whether RECTIFY has to know if the predecessor still lives before it can decide about a notify from `from`. */
export function mustCheckPredecessor(state: RingState, from: Pointer): boolean {
  const known = state.predecessor;
  return known !== undefined && known.id !== from.id && !between(known.id, from.id, state.self.id);
}

/** RECTIFY on a notify. `predecessorFailed` matters only when mustCheckPredecessor() holds. */
export function rectify(state: RingState, from: Pointer, predecessorFailed: boolean): RingState {
  const known = state.predecessor;
  if (from.id === state.self.id) return state;
  if (known?.id === from.id) {
    // A notify of an older life was overtaken by the newer life's.
    return from.life > known.life ? { ...state, predecessor: from } : state;
  }
  const adopt = !mustCheckPredecessor(state, from) || predecessorFailed;
  return adopt ? { ...state, predecessor: from } : state;
}

/** Enters stabilizing(q) for a node that the member table or a finger offers; adopted only by STABILIZE-2. */
export function offerCandidate(state: RingState, offered: Pointer): RingState {
  return between(state.self.id, offered.id, state.successors[0]!.id)
    ? { ...state, candidate: offered }
    : state;
}

/**
 * The invariants that one node can check alone: Z7 distinct entries, Z8 clockwise order, Z11 length r and own id not
 * in the list. Empty when all hold.
 */
export function localFaults(state: Pick<RingState, "self" | "successors">, r: number): string[] {
  const faults: string[] = [];
  const list = [state.self, ...state.successors].map((pointer) => pointer.id);
  if (state.successors.length !== r || list.lastIndexOf(state.self.id) !== 0) {
    faults.push("Z11 list of r others");
  }
  if (new Set(list).size !== list.length) faults.push("Z7 no duplicates");
  if (!isClockwise(list)) faults.push("Z8 ordered list");
  return faults;
}

/** Whether every sublist (x, y, z) has y between x and z. Once around is enough: the ids wrap past zero at most once. */
function isClockwise(list: readonly NodeId[]): boolean {
  let wraps = 0;
  for (let index = 0; index < list.length; index++) {
    const next = list[(index + 1) % list.length]!;
    if (next <= list[index]!) wraps++;
  }
  return wraps <= 1;
}
