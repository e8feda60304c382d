// After a change of view the registers carry versions of the epoch before: reads need all members to agree on those,
// or the leader. This writes them again, under the leader of the new view, slowly, so that a majority is enough.
// Nothing depends on it but the speed of reads.
import { RingstowError } from "../../shared/errors.ts";
import { renewAtOnce, renewPauseMs } from "../../shared/limits.ts";
import { type Slice } from "../../shared/slices.ts";
import { epochOf } from "../../shared/versions.ts";
import { type Clock, type Log } from "../ports.ts";
import { pause } from "../waiting.ts";
import { type Elections } from "./elections.ts";
import { NotLeader } from "./quorum.ts";
import { type Replica } from "./replica.ts";
import { type SliceLeader } from "./slice-leader.ts";
import { type RegisterKey } from "./types.ts";

export interface RegisterRenewalOptions {
  readonly replica: Replica;
  readonly elections: Elections;
  readonly clock: Clock;
  readonly log: Log;
}

export class RegisterRenewal {
  readonly #options: RegisterRenewalOptions;
  readonly #waiting = new Set<Slice>();
  /** Epochs in which all registers of a slice were renewed. */
  readonly #done = new Map<Slice, number>();
  #running = false;
  #stopped = false;

  constructor(options: RegisterRenewalOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** A slice has a leader here; when it is another view than that of the last renewal, its registers are looked at. */
  elected({ slice, view: { epoch } }: SliceLeader): void {
    if (epoch === 1 || this.#done.get(slice) === epoch) return;
    this.#waiting.add(slice);
    if (this.#running) return;
    this.#running = true;
    void this.#run().finally(() => void (this.#running = false));
  }

  async #run(): Promise<void> {
    for (const slice of this.#waiting) {
      this.#waiting.delete(slice);
      const leader = this.#options.elections.leaderOf(slice);
      if (this.#stopped) return;
      if (!leader) continue;
      try {
        if (await this.#renew(leader)) this.#done.set(slice, leader.view.epoch);
      } catch (error) {
        this.#options.log.warn("Cannot renew registers", { slice, error: String(error) });
      }
    }
  }

  /** False when the leader is over before the end; the next one begins again. */
  async #renew(leader: SliceLeader): Promise<boolean> {
    const { replica } = this.#options;
    const { slice, view } = leader;
    for (let after = ""; ;) {
      const { rows, more } = await replica.versions(slice, after);
      const old = rows.filter(({ version }) => epochOf(version) < view.epoch);
      while (old.length > 0) {
        if (this.#stopped || leader.deposed) return false;
        const reads = old.splice(0, renewAtOnce).map(({ key }) => this.#read(leader, key));
        await Promise.all(reads);
        await pause(this.#options.clock, renewPauseMs);
      }
      const last = rows.at(-1);
      if (!more || !last) return true;
      after = last.key;
    }
  }

  /** A leader's read of a register of an older ballot writes it again. One that is refused now is read by somebody once. */
  async #read(leader: SliceLeader, key: string): Promise<void> {
    try {
      await leader.read(key as RegisterKey, false);
    } catch (error) {
      if (!(error instanceof NotLeader || error instanceof RingstowError)) throw error;
    }
  }
}
