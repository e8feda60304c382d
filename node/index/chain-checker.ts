// Walks over the chains that this node leads, now and then: frees what is due as garbage, and looks at locks.
import { checkerMs } from "../../shared/limits.ts";
import { type Clock, type Log, type Timer } from "../ports.ts";
import { type ChainCensus } from "./chain-census.ts";
import { type Elections } from "./elections.ts";
import { type RegisterAddress, type RegisterKey } from "./types.ts";

export interface ChainCheckerOptions {
  readonly census: ChainCensus;
  readonly elections: Elections;
  readonly clock: Clock;
  readonly log: Log;
  readonly freeGarbage: (at: RegisterAddress) => Promise<void>;
}

export class ChainChecker {
  readonly #options: ChainCheckerOptions;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: ChainCheckerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = this.#options.clock.after(checkerMs, () => {
      this.#check()
        .catch((error: unknown) => {
          this.#options.log.warn("Cannot check chains", { error: String(error) });
        })
        .finally(() => {
          if (!this.#stopped) this.start();
        });
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #check(): Promise<void> {
    const { clock, census, elections, freeGarbage } = this.#options;
    for (const slice of elections.slicesLed()) {
      if (this.#stopped) return;
      const free = async (key: RegisterKey): Promise<void> => {
        if (!this.#stopped) await freeGarbage({ slice, key });
      };
      // A leader counts a lease from when it first sees the lock: a lock that nobody asks for must be seen too.
      const see = async (key: RegisterKey): Promise<void> => {
        if (!this.#stopped) await elections.leaderOf(slice)?.read(key, false);
      };
      await census.visitDue(slice, clock.wallMs(), free, see);
    }
  }
}
