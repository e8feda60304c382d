// What this node answered lately to requests that changed nothing: refusals, and results of operations that found
// nothing to do. No register remembers them, so a copy of such a request that comes late would be carried out although
// its client has the answer. Volatile, and one for all slices of the node, so that a lead that was lost and won again
// keeps it; a request that was sent before is remembered in its register as well (slice-leader.ts).
import { type RequestId } from "../../shared/ids.ts";
import { dedupMs, noEffectsMax } from "../../shared/limits.ts";
import { type Clock } from "../ports.ts";
import { type Answered, type Outcome } from "./register-state.ts";
import { type RegisterKey } from "./types.ts";

interface Remembered {
  readonly atMs: number;
  readonly answer: Answered;
}

export class NoEffects {
  readonly #clock: Pick<Clock, "monotonicMs">;
  /** By request id and register, the latest answer last. */
  readonly #answers = new Map<string, Remembered>();

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** What a request about a register was answered in the last `dedupMs`. */
  find(key: RegisterKey, requestId: RequestId): Answered | undefined {
    this.#forgetOld();
    return this.#answers.get(nameOf(key, requestId))?.answer;
  }

  /** Call before the answer is given. The oldest one of `noEffectsMax` is forgotten. */
  remember(key: RegisterKey, requestId: RequestId, digest: string, outcome: Outcome): void {
    const name = nameOf(key, requestId);
    this.#answers.delete(name);
    this.#answers.set(name, {
      atMs: this.#clock.monotonicMs(),
      answer: [requestId, digest, outcome],
    });
    this.#forgetOld();
    if (this.#answers.size > noEffectsMax) this.#answers.delete(this.#answers.keys().next().value!);
  }

  get size(): number {
    return this.#answers.size;
  }

  #forgetOld(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [name, { atMs }] of this.#answers) {
      if (nowMs - atMs <= dedupMs) return;
      this.#answers.delete(name);
    }
  }
}

/** Request ids have one length. */
function nameOf(key: RegisterKey, requestId: RequestId): string {
  return requestId + key;
}
