// One question to all members of a view, answered when enough of them agree. A member that does not answer is asked
// again until then; a member that promised a higher ballot ends the leader.
import { RingstowError } from "../../shared/errors.ts";
import { type VoterId } from "../../shared/ids.ts";
import { askAgainMs, askAgainMax, quorumTimeoutMs } from "../../shared/limits.ts";
import { type Refusal } from "../../shared/protocol/index-calls.ts";
import { type Ballot, epochOf } from "../../shared/versions.ts";
import { type Clock, type Timer, TransportError } from "../ports.ts";
import { pause } from "../waiting.ts";
import { type KnownView } from "./views.ts";

/** The leader may not answer any more: another one is there, or no majority. What was in flight is unknown. */
export class NotLeader extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = "NotLeader";
  }
}

/** What may keep a leader from what it is about without a fault: it is over, or somebody refuses or is silent. */
export function isExpected(error: unknown): boolean {
  return (
    error instanceof NotLeader || error instanceof TransportError || error instanceof RingstowError
  );
}

/** Voters of whom so many decide. */
export interface Quorum {
  readonly members: readonly VoterId[];
  readonly needed: number;
}

export interface Question<T> {
  /** Each must agree. The first is that of the ballot's view; another one is that of the view to which it hands over. */
  readonly quorums: readonly Quorum[];
  readonly ballot: Ballot;
  readonly clock: Clock;
  ask(member: VoterId): Promise<T | Refusal>;
  /** Brings a member that missed the election to the ballot. */
  prepare(member: VoterId): Promise<unknown>;
  /** The quorum had answered, and then a member showed a higher ballot: it takes no more part under this one. */
  readonly overtaken?: (() => void) | undefined;
  /** A member is not yet active in the ballot's epoch. */
  readonly behind?: ((member: VoterId) => void) | undefined;
  /** A member has left the ballot's epoch for this view. */
  readonly passed?: ((view: KnownView) => void) | undefined;
  /** A member never agreed: it gave no answer, or refused for good. */
  readonly missed?: ((member: VoterId) => void) | undefined;
}

/**
 * Asks all members; resolves with the first answers that each quorum agrees with.
 * Rejects with NotLeader when a higher ballot shows up or the quorum does not come in `quorumTimeoutMs`.
 */
export function askQuorum<T extends { ok: true }>(question: Question<T>): Promise<Map<VoterId, T>> {
  const { quorums, ballot, clock } = question;
  const own = quorums[0]!.members;
  const members = quorums.length === 1 ? own : new Set(quorums.flatMap((one) => one.members));
  return new Promise((resolve, reject) => {
    const answers = new Map<VoterId, T>();
    let ended = false;
    const isEnough = (): boolean =>
      quorums.every(
        (one) => one.members.filter((member) => answers.has(member)).length >= one.needed,
      );
    const timer: Timer = clock.after(quorumTimeoutMs, () => {
      end(() =>
        reject(new NotLeader(`Only ${answers.size} of ${[...members].length} members answer`)),
      );
    });
    const end = (settle: () => void): void => {
      if (ended) return;
      ended = true;
      timer.cancel();
      settle();
    };
    const askOne = async (member: VoterId): Promise<void> => {
      let failures = 0;
      // After the quorum, a member gets a few more chances; before it, as long as the question lasts.
      while (!ended || (question.missed && failures < askAgainMax)) {
        try {
          const answer = await question.ask(member);
          if (answer.ok) {
            answers.set(member, answer);
            if (isEnough()) end(() => resolve(new Map(answers)));
            return;
          }
          const epoch = epochOf(ballot);
          const passed = answer.view && answer.view.epoch > epoch ? answer.view : undefined;
          if (passed) question.passed?.(passed);
          if (answer.promised > ballot || answer.epoch > epoch || passed) {
            if (ended) question.overtaken?.();
            end(() => reject(new NotLeader("A higher ballot was promised")));
            break;
          }
          // One that is only of the next view has never promised this ballot.
          if (own.includes(member)) {
            if (answer.epoch < epoch) question.behind?.(member);
            await question.prepare(member);
          }
        } catch {
          // No answer, or a replica whose disk refuses: ask again below.
        }
        failures++;
        await pause(clock, askAgainMs);
      }
      question.missed?.(member);
    };
    for (const member of members) void askOne(member);
  });
}
