// One question to all members of a view, answered when enough of them agree. A member that does not answer is asked
// again until then; a member that promised a higher ballot ends the leader.
import { type VoterId } from "../../shared/ids.ts";
import { askAgainMs, askAgainMax, quorumTimeoutMs } from "../../shared/limits.ts";
import { type Refusal } from "../../shared/protocol/index-calls.ts";
import { type Ballot, epochOf } from "../../shared/versions.ts";
import { type Clock, type Timer } from "../ports.ts";

/** The leader may not answer any more: another one is there, or no majority. What was in flight is unknown. */
export class NotLeader extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = "NotLeader";
  }
}

export interface Question<T> {
  readonly members: readonly VoterId[];
  readonly quorum: number;
  readonly ballot: Ballot;
  readonly clock: Clock;
  ask(member: VoterId): Promise<T | Refusal>;
  /** Brings a member that missed the election to the ballot. */
  prepare(member: VoterId): Promise<unknown>;
  /** The quorum had answered, and then a member showed a higher ballot: it takes no more part under this one. */
  readonly overtaken?: (() => void) | undefined;
  /** A member never answered although the quorum did. */
  readonly missed?: ((member: VoterId) => void) | undefined;
}

/**
 * Asks all members; resolves with the first `quorum` answers.
 * Rejects with NotLeader when a higher ballot shows up or the quorum does not come in `quorumTimeoutMs`.
 */
export function askQuorum<T extends { ok: true }>(question: Question<T>): Promise<Map<VoterId, T>> {
  const { members, quorum, ballot, clock } = question;
  return new Promise((resolve, reject) => {
    const answers = new Map<VoterId, T>();
    let ended = false;
    const timer: Timer = clock.after(quorumTimeoutMs, () => {
      end(() => reject(new NotLeader(`Only ${answers.size} of ${members.length} members answer`)));
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
            if (answers.size >= quorum) end(() => resolve(new Map(answers)));
            return;
          }
          if (answer.promised > ballot || answer.epoch > epochOf(ballot)) {
            if (ended) question.overtaken?.();
            end(() => reject(new NotLeader("A higher ballot was promised")));
            return;
          }
          await question.prepare(member);
        } catch {
          // No answer, or a replica whose disk refuses: ask again below.
        }
        failures++;
        await new Promise<void>((again) => void clock.after(askAgainMs, again));
      }
      question.missed?.(member);
    };
    for (const member of members) void askOne(member);
  });
}
