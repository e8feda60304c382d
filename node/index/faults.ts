// Test-only switches that break one rule of the protocol each. The mutation suite shows that the simulator catches
// them; production builds pass none.
import { type VoterId } from "../../shared/ids.ts";
import { type Slice } from "../../shared/slices.ts";

export interface IndexFaults {
  /** Not a broken rule: members that a view is to have, whatever the ring says; undefined: what the ring says. */
  readonly restlessViews?: (
    present: readonly VoterId[],
    slice: Slice,
  ) => readonly VoterId[] | undefined;
  /** Quorums of one: writes and elections do not meet. */
  readonly smallQuorum?: boolean;
  /** READREG answers under any ballot, not only the promised one. */
  readonly noPromiseEquality?: boolean;
  /** SYNC takes entries below the promise. */
  readonly syncIgnoresPromise?: boolean;
  /** A member that answers SEAL goes on to vote. */
  readonly noSeal?: boolean;
  /** A member that left a view deletes its registers at once. */
  readonly earlyGarbage?: boolean;
  /** A value of an older ballot is told without being written again. */
  readonly noRewrite?: boolean;
  /** A leader answers from what it knows, without a CONFIRM round. */
  readonly noConfirm?: boolean;
  /** One sealed member is enough to start from. */
  readonly singleSnapshot?: boolean;
  /** A view is installed that no majority decided. */
  readonly undecidedView?: boolean;
  /** The promise that came with a view serves for every election of its first member, in later processes too. */
  readonly inheritedForEver?: boolean;
  /** Not a broken rule: no leader hands over, slices stand still while their views change. */
  readonly noHandover?: boolean;
  /** A leader that hands over decides without the members of the next view. */
  readonly noWidening?: boolean;
  /** Who serves a leader that hands over goes on to when the next view's leader has asked it. */
  readonly servesOn?: boolean;
  /** What was taken from a leader that hands over is given up for what others hold. */
  readonly sparesNothing?: boolean;
  /** A majority that agrees on a version of an older epoch answers a read. */
  readonly crossEpochFastRead?: boolean;
}
