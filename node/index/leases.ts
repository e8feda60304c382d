// Leases of native locks: leader-local and monotonic. A new leader gives the full lease again when it first sees the
// lock, so a holder can only be given more time than it asked for, never less.
import { type Clock, type Timer } from "../ports.ts";
import { type RegisterState } from "./register-state.ts";
import { type RegisterKey } from "./types.ts";

export class Leases {
  readonly #clock: Clock;
  readonly #expire: (key: RegisterKey, fence: number) => void;
  readonly #timers = new Map<string, { fence: number; timer: Timer }>();

  constructor(clock: Clock, expire: (key: RegisterKey, fence: number) => void) {
    this.#clock = clock;
    this.#expire = expire;
  }

  /** Tells that a register's settled state is now this one. */
  follow(key: string, state: RegisterState): void {
    const lock = state.value?.kind === "object" ? state.value.chain.lock : undefined;
    const present = this.#timers.get(key);
    if (present && present.fence !== lock?.fence) {
      present.timer.cancel();
      this.#timers.delete(key);
    }
    if (lock && present?.fence !== lock.fence) this.#begin(key, lock.fence, lock.leaseMs);
  }

  /** The holder asked for another full lease. A late copy from a holder of before changes nothing. */
  renew(key: string, fence: number, leaseMs: number): void {
    const present = this.#timers.get(key);
    if (present && present.fence !== fence) return;
    present?.timer.cancel();
    this.#begin(key, fence, leaseMs);
  }

  clear(): void {
    for (const { timer } of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  #begin(key: string, fence: number, leaseMs: number): void {
    const timer = this.#clock.after(leaseMs, () => {
      this.#timers.delete(key);
      this.#expire(key as RegisterKey, fence);
    });
    this.#timers.set(key, { fence, timer });
  }
}
