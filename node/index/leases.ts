// Leases of native locks: leader-local and monotonic. A new leader gives the full lease again when it first sees the
// lock, so a holder can only be given more time than it asked for, never less: a lease that ran out is ended by an
// operation that waits its turn, and a renewal that had its turn before keeps the lock.
import { type Clock, type Timer } from "../ports.ts";
import { type RegisterState } from "./register-state.ts";
import { type RegisterKey } from "./types.ts";

interface Lease {
  readonly fence: number;
  /** undefined: it ran out, and the lock is about to be opened. */
  timer: Timer | undefined;
}

export class Leases {
  readonly #clock: Clock;
  readonly #expire: (key: RegisterKey, fence: number) => void;
  readonly #leases = new Map<string, Lease>();

  constructor(clock: Clock, expire: (key: RegisterKey, fence: number) => void) {
    this.#clock = clock;
    this.#expire = expire;
  }

  /** Tells that a register's settled state is now this one. */
  follow(key: string, state: RegisterState): void {
    const lock = state.value?.kind === "object" ? state.value.chain.lock : undefined;
    const present = this.#leases.get(key);
    if (present && present.fence !== lock?.fence) {
      present.timer?.cancel();
      this.#leases.delete(key);
    }
    if (lock && present?.fence !== lock.fence) this.#begin(key, lock.fence, lock.leaseMs);
  }

  /** The holder asked for another full lease. A late copy from a holder of before changes nothing. */
  renew(key: string, fence: number, leaseMs: number): void {
    const present = this.#leases.get(key);
    if (present && present.fence !== fence) return;
    present?.timer?.cancel();
    this.#begin(key, fence, leaseMs);
  }

  /** Whether this lease ran out and was not renewed since. */
  isOver(key: string, fence: number): boolean {
    const present = this.#leases.get(key);
    return present?.fence === fence && present.timer === undefined;
  }

  clear(): void {
    for (const { timer } of this.#leases.values()) timer?.cancel();
    this.#leases.clear();
  }

  #begin(key: string, fence: number, leaseMs: number): void {
    const lease: Lease = { fence, timer: undefined };
    lease.timer = this.#clock.after(leaseMs, () => {
      lease.timer = undefined;
      this.#expire(key as RegisterKey, fence);
    });
    this.#leases.set(key, lease);
  }
}
