// Lifeguard's local health (Dadgar, Phillips, Currey 2018, section 4): a node whose own probes fail, or that others
// suspect, may be the slow one itself. Until its probes succeed again it waits longer before it blames anybody.
import { localHealthMax } from "../../shared/limits.ts";

export class LocalHealth {
  #score = 0;

  /** Time-outs and the period of probes are to be multiplied by this: 1 when all is well. */
  get factor(): number {
    return 1 + this.#score;
  }

  /** @param signs how many things went wrong that would not have with a well node */
  worsen(signs = 1): void {
    this.#score = Math.min(localHealthMax, this.#score + signs);
  }

  improve(): void {
    this.#score = Math.max(0, this.#score - 1);
  }
}

/**
 * How long a suspect has to refute (section 4): the first suspicion waits long, each independent one brings the end
 * nearer, by the logarithm of their number.
 * @param members live members; in a larger cluster the news and the refutation travel longer
 * @param confirmations nodes besides the first that find it unreachable
 */
export function suspicionMs(
  members: number,
  confirmations: number,
  limits: { readonly leastMs: number; readonly factor: number; readonly expectedMax: number },
): number {
  const least = limits.leastMs * Math.max(1, Math.log10(members));
  const most = least * limits.factor;
  // The suspect and the first to suspect it confirm nothing.
  const expected = Math.min(limits.expectedMax, members - 2);
  if (expected < 1) return least;
  const share = Math.log(confirmations + 1) / Math.log(expected + 1);
  return Math.max(least, most - (most - least) * share);
}
