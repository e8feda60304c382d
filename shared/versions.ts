// Ballots and versions as fixed-width hex strings: string order is protocol order, equality is `===`.
// ballot  = epoch (8) round (8) voter (48); version = ballot sequence (12). A version starts with its ballot.
import { type VoterId } from "./ids.ts";

/** A leader's claim on a slice: 64 hex digits, compared as strings. */
export type Ballot = string & { readonly ballot: true };
/** One write of a register: a ballot and a sequence number, 76 hex digits, compared as strings. */
export type Version = string & { readonly version: true };

/** Below every ballot: a slice where nobody has promised anything. */
export const NO_BALLOT = "" as Ballot;
/** Below every version: a register that was never written. */
export const NO_VERSION = "" as Version;

const fixed = (value: number, digits: number): string => value.toString(16).padStart(digits, "0");

export function makeBallot(epoch: number, round: number, voter: VoterId): Ballot {
  return (fixed(epoch, 8) + fixed(round, 8) + voter) as Ballot;
}

export function makeVersion(ballot: Ballot, sequence: number): Version {
  return (ballot + fixed(sequence, 12)) as Version;
}

export function ballotOf(version: Version): Ballot {
  return version.slice(0, 64) as Ballot;
}

/** Epoch of a ballot or a version; 0 for none. */
export function epochOf(stamp: Ballot | Version): number {
  return stamp === "" ? 0 : Number.parseInt(stamp.slice(0, 8), 16);
}

/** Round of a ballot or a version; 0 for none. */
export function roundOf(stamp: Ballot | Version): number {
  return stamp === "" ? 0 : Number.parseInt(stamp.slice(8, 16), 16);
}

/** Voter that made a ballot or a version, if there is one. */
export function voterOf(stamp: Ballot | Version): VoterId | undefined {
  return stamp === "" ? undefined : (stamp.slice(16, 64) as VoterId);
}

export function sequenceOf(version: Version): number {
  return version === "" ? 0 : Number.parseInt(version.slice(64), 16);
}
