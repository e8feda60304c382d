// The register in which the number of copies is decided, and how it gets known: whoever leads its slice has read it or
// changed it, and tells its own route module, which tells everybody. So a decision is spread whoever dies.
import { assert, RingstowError } from "../../shared/errors.ts";
import { type Copies, type CopiesSetting } from "../../shared/copies.ts";
import { type RequestId } from "../../shared/ids.ts";
import { SYSTEM_SETTINGS } from "../../shared/records.ts";
import { sliceOfShard } from "../../shared/slices.ts";
import { type Log } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { NotLeader } from "./quorum.ts";
import { decodeState, valueOf } from "./register-state.ts";
import { type SliceLeader } from "./slice-leader.ts";
import { type Index, type RegisterAddress, type RegisterResult, registerKey } from "./types.ts";

export interface CopiesRegisterDeps {
  readonly sliceBits: number;
  readonly route: Pick<Route, "copies" | "learnCopies">;
  readonly execute: Index["execute"];
  readonly log: Log;
}

export class CopiesRegister {
  readonly #deps: CopiesRegisterDeps;
  readonly #at: RegisterAddress;

  constructor(deps: CopiesRegisterDeps) {
    this.#deps = deps;
    this.#at = {
      slice: sliceOfShard(SYSTEM_SETTINGS, 0, deps.sliceBits),
      key: registerKey("copies", SYSTEM_SETTINGS, ""),
    };
  }

  async set(copies: Copies, requestId: RequestId): Promise<CopiesSetting> {
    const { execute, route } = this.#deps;
    const above = route.copies().version;
    const operation = { type: "setCopies", copies, above } as const;
    const result = await execute(this.#at, operation, { requestId });
    assert(result.type === "copies", "setCopies answers with the setting");
    return result.setting;
  }

  /** An operation was decided, by a leader here or for a coordinator here. */
  decided(result: RegisterResult): void {
    if (result.type === "copies") this.#deps.route.learnCopies(result.setting);
  }

  /** @param names registers that a majority named; undefined: too many to name */
  elected(leader: SliceLeader, names: ReadonlySet<string> | undefined): void {
    const { slice, key } = this.#at;
    if (leader.slice !== slice || names?.has(key) === false) return;
    this.#read(leader).catch((error: unknown) => {
      // Who leads next reads it.
      if (error instanceof NotLeader || error instanceof RingstowError) return;
      this.#deps.log.error("Cannot read the number of copies", { error: String(error) });
    });
  }

  async #read(leader: SliceLeader): Promise<void> {
    const { value: text } = await leader.read(this.#at.key, false);
    const value = valueOf(decodeState(text ?? ""));
    if (value?.kind === "copies") this.#deps.route.learnCopies(value.setting);
  }
}
