// The setting of copies as this node knows it: the latest that it has heard of. Like a change of the member table it
// rides on some pings of each node that hears it, and comparisons of tables tell those that missed it. It is kept in
// the store, so that a node does not start with what was said before. A hint: who is late is late, views say who votes.
import { type CopiesSetting, copiesSettingSchema, isLater } from "../../shared/copies.ts";
import { type Log, type Store } from "../ports.ts";
import { copiesFor } from "./rumours.ts";

const ROW = "c/copies";

export interface KnownCopiesDeps {
  /** What genesis says. */
  readonly first: number;
  readonly store: Store;
  readonly log: Log;
  /** How many members are known. */
  readonly members: () => number;
}

export class KnownCopies {
  readonly #deps: KnownCopiesDeps;
  #setting: CopiesSetting;
  /** Messages that still carry it. */
  #left = 0;

  constructor(deps: KnownCopiesDeps) {
    this.#deps = deps;
    this.#setting = { version: 0, copies: deps.first };
  }

  get setting(): CopiesSetting {
    return this.#setting;
  }

  /** Takes up what an earlier life of this node knew. */
  load(): void {
    const row = this.#deps.store.get(ROW);
    if (!row) return;
    const stored = parse(new TextDecoder().decode(row));
    if (!stored) this.#deps.log.warn("Stored number of copies is damaged", { row: ROW });
    else if (isLater(stored, this.#setting)) this.#setting = stored;
  }

  /** Takes over what somebody says, if it is later, and tells others. */
  learn(heard: CopiesSetting): void {
    if (!isLater(heard, this.#setting)) return;
    const { store, log, members } = this.#deps;
    const { version, copies } = heard;
    log.info("Another number of copies is wanted", { version, copies });
    this.#setting = { version, copies };
    this.#left = copiesFor(members());
    const value = new TextEncoder().encode(JSON.stringify(this.#setting));
    // Not waited for: what is not stored is heard again.
    store.write([{ key: ROW, value }]).catch((error: unknown) => {
      log.warn("Cannot store the number of copies", { error: String(error) });
    });
  }

  /** To ride on the next message; undefined when it was told often enough. */
  takeNews(): CopiesSetting | undefined {
    if (this.#left === 0) return undefined;
    this.#left--;
    return this.#setting;
  }

  /** What somebody lacks who knows this much; undefined when that is nothing. What genesis says, everybody knows. */
  laterThan(theirs?: CopiesSetting): CopiesSetting | undefined {
    if (this.#setting.version === 0) return undefined;
    return !theirs || isLater(this.#setting, theirs) ? this.#setting : undefined;
  }
}

function parse(text: string): CopiesSetting | undefined {
  try {
    return copiesSettingSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
