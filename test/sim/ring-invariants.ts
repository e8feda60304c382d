// Zave's invariants over the states of all members of a ring (arXiv 1502.06461, sections 5 and 6; her names in
// brackets). A member is a node that runs and has joined; `states` holds exactly the members.
import { type NodeId } from "../../shared/ids.ts";
import { between } from "../../shared/ring.ts";
import { localFaults, type Pointer, type RingState } from "../../node/route/ring-state.ts";

export type MemberRingState = Pick<RingState, "self" | "successors" | "predecessor">;

type Members = ReadonlyMap<NodeId, MemberRingState>;

const byId = (states: readonly MemberRingState[]): Members =>
  new Map(states.map((state) => [state.self.id, state]));

/** Whether a pointer names a member in the life it is in. */
function pointsToMember(members: Members, pointer: Pointer): boolean {
  const state = members.get(pointer.id);
  return state !== undefined && (pointer.life === 0 || pointer.life === state.self.life);
}

/** The first entry of a member's list that is a member. */
function bestSuccessor(members: Members, state: MemberRingState): NodeId | undefined {
  return state.successors.find((pointer) => pointsToMember(members, pointer))?.id;
}

/** The members that nobody skips: no two adjacent entries of anyone's extended list have them in between. */
export function principals(states: readonly MemberRingState[]): NodeId[] {
  return states
    .map((state) => state.self.id)
    .filter((id) => states.every((state) => !skips(state, id)));
}

function skips({ self, successors }: MemberRingState, id: NodeId): boolean {
  return successors.some((to, index) => {
    const from = index === 0 ? self : successors[index - 1]!;
    return between(from.id, id, to.id);
  });
}

/** Checks Z7, Z8 and Z11, which hold whatever fails. */
export function localFaultsOf(states: readonly MemberRingState[], r: number): string[] {
  return states.flatMap((state) =>
    localFaults(state, r).map((fault) => `${fault} at ${state.self.id}`),
  );
}

/**
 * Checks Z1-Z8 and Z11. Empty when all hold. Z9 and Z10 are about two moments: compare principals() before and after
 * a step, and ask isIdeal() after a quiet time.
 * @param r length of successor lists
 */
export function checkRing(states: readonly MemberRingState[], r: number): string[] {
  const members = byId(states);
  const faults = localFaultsOf(states, r);
  for (const state of states) {
    if (bestSuccessor(members, state) === undefined) {
      faults.push(`Z1 [OneLiveSuccessor] at ${state.self.id}`);
    }
  }
  const count = principals(states).length;
  if (count < r + 1) faults.push(`Z2 [SufficientPrincipals] ${count} of ${r + 1}`);
  return [...faults, ...checkShape(members)];
}

/** Z3-Z6: one ordered ring, and everybody else hangs on it. */
function checkShape(members: Members): string[] {
  const next = (id: NodeId): NodeId | undefined => bestSuccessor(members, members.get(id)!);
  const onRing = new Set<NodeId>();
  for (const id of members.keys()) if (returns(id, next, members.size)) onRing.add(id);
  const first = onRing.values().next().value;
  if (first === undefined) return ["Z3 [AtLeastOneRing]"];
  const loop = [first];
  for (let id = next(first)!; id !== first; id = next(id)!) loop.push(id);
  if (loop.length !== onRing.size) return ["Z4 [AtMostOneRing]"];
  const faults: string[] = [];
  for (const id of loop) {
    const successor = next(id)!;
    if (loop.some((other) => other !== id && between(id, other, successor))) {
      faults.push(`Z5 [OrderedRing] after ${id}`);
    }
  }
  for (const id of members.keys()) {
    if (!reaches(id, next, onRing, members.size)) faults.push(`Z6 [ConnectedAppendages] at ${id}`);
  }
  return faults;
}

type Next = (id: NodeId) => NodeId | undefined;

function returns(start: NodeId, next: Next, steps: number): boolean {
  let id = next(start);
  for (let step = 0; id !== undefined && id !== start && step < steps; step++) id = next(id);
  return id === start;
}

function reaches(start: NodeId, next: Next, goal: ReadonlySet<NodeId>, steps: number): boolean {
  let id: NodeId | undefined = start;
  for (let step = 0; id !== undefined && !goal.has(id) && step <= steps; step++) id = next(id);
  return id !== undefined && goal.has(id);
}

/** Z10's goal [Ideal]: every list and every predecessor is right. */
export function isIdeal(states: readonly MemberRingState[], r: number): boolean {
  const sorted = states.toSorted((a, b) => (a.self.id < b.self.id ? -1 : 1));
  return sorted.every((state, index) => {
    const at = (offset: number): NodeId =>
      sorted[(index + offset + sorted.length) % sorted.length]!.self.id;
    return (
      sorted.length > r &&
      state.predecessor?.id === at(-1) &&
      state.successors.length === r &&
      state.successors.every((pointer, i) => pointer.id === at(i + 1))
    );
  });
}
