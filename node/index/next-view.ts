// Which view a slice should have next: pure choices.
import { type VoterId } from "../../shared/ids.ts";
import { majorityOf, sameMembers, viewSize } from "./views.ts";

/**
 * Voters of the next view; undefined when there are too few nodes for it. It gets smaller only when that is wanted,
 * never because nodes are lost; it grows as far as there are nodes, and where there are too few, lost members are
 * replaced all the same.
 * @param present voters of the view
 * @param wanted voters that it should have; odd
 * @param eligible nodes that may be members
 */
export function nextSize(present: number, wanted: number, eligible: number): number | undefined {
  const size = viewSize(wanted, eligible);
  return size >= Math.min(present, wanted) ? size : undefined;
}

/**
 * Members of the next view, in order of preference for the lead; undefined when the present one may stay.
 * A view of another size is taken in one step (of one voter and two, both must agree: a step by one could block); else
 * one member is replaced at a time, those first that are not there. A smaller view has nobody to spare: all of it must
 * be there.
 * @param present members of the view
 * @param desired who should be its members; its length is odd
 * @param isUp whether a member is there at present
 */
export function nextMembers(
  present: readonly VoterId[],
  desired: readonly VoterId[],
  isUp: (voter: VoterId) => boolean,
): readonly VoterId[] | undefined {
  if (desired.length === 0 || sameMembers(present, desired)) return undefined;
  // Nobody is let in who could not take part: the view must go on with a majority of those who are there.
  const newcomers = desired.filter((voter) => !present.includes(voter));
  if (!newcomers.every(isUp)) return undefined;
  if (desired.length !== present.length) {
    const isSmaller = desired.length < present.length;
    const needed = isSmaller ? desired.length : majorityOf(desired.length);
    return desired.filter(isUp).length >= needed ? [...desired] : undefined;
  }
  const leaving = present.filter((voter) => !desired.includes(voter));
  const out = leaving.find((voter) => !isUp(voter)) ?? leaving[0]!;
  const next = new Set([...present.filter((voter) => voter !== out), newcomers[0]!]);
  return [...desired, ...present].filter(
    (voter, at, all) => next.has(voter) && all.indexOf(voter) === at,
  );
}
