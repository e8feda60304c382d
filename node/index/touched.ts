// A register as its slice's leader knows it.
import { dedupMax, dedupMs, operationDeadlineMs } from "../../shared/limits.ts";
import { type Version } from "../../shared/versions.ts";
import {
  type Answered,
  type Outcome,
  type RegisterState,
  answersOf,
  withAnswers,
} from "./register-state.ts";
import { type LeaderRequest } from "./verdict.ts";

/** A register's value as this leader knows it. */
export interface Touched {
  readonly version: Version;
  readonly state: RegisterState;
  readonly text: string;
  /** Leader time at which each of `state.answered` was first seen, ms. */
  readonly answeredAt: readonly number[];
  /** Written or confirmed absent under this ballot by a majority. */
  readonly settled: boolean;
  /** Only right after a read from the members. */
  readonly body?: Uint8Array | undefined;
}

/** The answers that a register must go on remembering, and when the leader first saw each. */
export function keptAnswers(
  { state: { answered }, answeredAt }: Touched,
  nowMs: number,
): { answers: readonly Answered[]; at: readonly number[] } {
  // No internal retry lives longer than operationDeadlineMs: a crowded register forgets after that.
  const ageMs = answered.length >= dedupMax ? operationDeadlineMs + 1_000 : dedupMs;
  const young = (_: unknown, i: number): boolean => nowMs - answeredAt[i]! <= ageMs;
  return { answers: answered.filter(young), at: answeredAt.filter(young) };
}

/** The answers that a register remembers once one more is given, and when each was first seen. */
export function answersAfter(
  touched: Touched,
  { requestId, operation }: Pick<LeaderRequest, "requestId" | "operation">,
  outcome: Outcome,
  nowMs: number,
): { answered: readonly Answered[]; at: readonly number[] } {
  const kept = keptAnswers(touched, nowMs);
  const atOf = new Map(kept.answers.map((answer, i) => [answer, kept.at[i]!]));
  const answered = withAnswers(kept.answers, answersOf(operation, requestId, outcome));
  return { answered, at: answered.map((answer) => atOf.get(answer) ?? nowMs) };
}
