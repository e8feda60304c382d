// Walks over the registers of this node: how many chains there are, which nodes hold their blocks, which chains are
// locked and which hold garbage. A slice that did not change is not walked again, unless something of it wants work.
import { garbageDelayMs, pageBytesMax, syncRowsMax } from "../../shared/limits.ts";
import { type BlockRef } from "../../shared/records.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Clock, type Store } from "../ports.ts";
import { decodeState, isTombstone } from "./register-state.ts";
import { readRows } from "./read-rows.ts";
import { type Health, type Holders, copiesLeft, holdersOf, planRepair } from "./repair-plan.ts";
import { CHAIN_KINDS, decodeRow, keyOfRow, registerRow, registerRowsEnd } from "./rows.ts";
import { type Replica } from "./replica.ts";
import { type RegisterKey, type RegisterValue, blocksIn } from "./types.ts";

const CENSUS_REST = 20; // times as long as a walk took: a slice under writes costs a twentieth of the time at most

interface SliceCensus {
  readonly chainChanges: number;
  readonly chains: number;
  /** How many blocks each set of holders has: few sets, however many blocks. */
  readonly blocksOf: ReadonlyMap<string, { readonly holders: Holders; blocks: number }>;
  /** Chains with a lock; a bounded number. */
  readonly locked: readonly RegisterKey[];
  /** Wall ms at which the oldest garbage became garbage. */
  readonly garbageSinceMs: number;
  /** Monotonic ms at which a changed slice is walked again: a long walk is made seldom. */
  readonly againMs: number;
}

/** A block that wants something done. */
export interface FoundBlock {
  readonly key: RegisterKey;
  readonly block: BlockRef;
  readonly holders: Holders;
}

export class ChainCensus {
  readonly #store: Store;
  readonly #replica: Replica;
  readonly #clock: Clock;
  readonly #known = new Map<Slice, SliceCensus>();

  constructor(store: Store, replica: Replica, clock: Clock) {
    this.#store = store;
    this.#replica = replica;
    this.#clock = clock;
  }

  /** Live chains of a slice as this node's replica has them. */
  async chains(slice: Slice): Promise<number> {
    return (await this.#of(slice)).chains;
  }

  /** Blocks of a slice's chains and of their uploads' parts with fewer than `copies` replicas on live nodes, or more. */
  async replication(
    slice: Slice,
    health: Pick<Health, "copies" | "live">,
  ): Promise<{ under: number; over: number }> {
    let [under, over] = [0, 0];
    for (const { holders, blocks } of (await this.#of(slice)).blocksOf.values()) {
      const left = copiesLeft(holders, health);
      if (left < health.copies) under += blocks;
      else if (left > health.copies) over += blocks;
    }
    return { under, over };
  }

  /** Copies left of the most endangered block that something can be done for; undefined when there is none. */
  async worst(slice: Slice, health: Health): Promise<number | undefined> {
    const left = [...(await this.#of(slice)).blocksOf.values()]
      .filter(({ holders }) => planRepair(holders, health))
      .map(({ holders }) => copiesLeft(holders, health));
    return left.length > 0 ? Math.min(...left) : undefined;
  }

  /** Blocks of a slice that something can be done for, at most `limit`, as this node's replica has them. */
  async wanting(slice: Slice, health: Health, limit: number): Promise<FoundBlock[]> {
    const found: FoundBlock[] = [];
    await this.#walk(slice, (key, value) => {
      if (found.length >= limit) return;
      for (const block of blocksIn(value)) {
        const holders = holdersOf(block);
        if (planRepair(holders, health)) found.push({ key, block, holders });
      }
    });
    return found;
  }

  /**
   * Calls `visit` for every chain of a slice with garbage that is due at `wallMs`, and `locked` for every chain with a
   * lock. A bounded number of each; the next walk finds the others. The chains are as this node's replica has them.
   */
  async visitDue(
    slice: Slice,
    wallMs: number,
    visit: (key: RegisterKey) => Promise<void>,
    locked: (key: RegisterKey) => Promise<void>,
  ): Promise<void> {
    const census = await this.#of(slice);
    for (const key of census.locked) await locked(key);
    if (wallMs - census.garbageSinceMs < garbageDelayMs) return;
    const due: RegisterKey[] = [];
    await this.#walk(slice, (key, value) => {
      if (value.kind !== "object" || due.length >= syncRowsMax) return;
      const { garbage } = value.chain;
      if (garbage.some(({ sinceMs }) => wallMs - sinceMs >= garbageDelayMs)) due.push(key);
    });
    for (const key of due) await visit(key);
  }

  async #of(slice: Slice): Promise<SliceCensus> {
    // A write that is accepted and not durable has raised `chainChanges` already, and the walk may miss it.
    const quiet = this.#replica.quiet(slice);
    const chainChanges = this.#replica.chainChanges(slice);
    const known = this.#known.get(slice);
    const begunMs = this.#clock.monotonicMs();
    if (known && (known.chainChanges === chainChanges || begunMs < known.againMs)) return known;
    const blocks = new Map<string, { holders: Holders; blocks: number }>();
    const locked: RegisterKey[] = [];
    let chains = 0;
    let garbageSinceMs = Number.POSITIVE_INFINITY;
    if (!this.#hasNone(slice))
      await this.#walk(slice, (key, value) => {
        if (value.kind === "object") {
          const { entries, lock, garbage } = value.chain;
          if (entries.length > 0) chains++;
          if (lock && locked.length < syncRowsMax) locked.push(key);
          for (const { sinceMs } of garbage) garbageSinceMs = Math.min(garbageSinceMs, sinceMs);
        }
        for (const block of blocksIn(value)) {
          const holders = holdersOf(block);
          const name = JSON.stringify(holders);
          const set = blocks.get(name) ?? { holders, blocks: 0 };
          blocks.set(name, set);
          set.blocks++;
        }
      });
    const endedMs = this.#clock.monotonicMs();
    const againMs = endedMs + (endedMs - begunMs) * CENSUS_REST;
    const counted = { chains, blocksOf: blocks, locked, garbageSinceMs };
    const census = { ...counted, chainChanges: quiet ? chainChanges : -1, againMs };
    this.#known.set(slice, census);
    return census;
  }

  /** Whether it is known without a look at the disk that a slice has no chains, as most have in a small cluster. */
  #hasNone(slice: Slice): boolean {
    const page = this.#replica.knownVersions(slice);
    if (!page || page.more) return false;
    const last = page.rows.at(-1); // chains sort behind all other kinds
    return !last || last.key < CHAIN_KINDS;
  }

  async #walk(
    slice: Slice,
    visit: (key: RegisterKey, value: RegisterValue) => void,
  ): Promise<void> {
    const to = registerRowsEnd(slice);
    for (let from = registerRow(slice, CHAIN_KINDS); ;) {
      const { rows, more } = await readRows(
        this.#store,
        { from, to },
        { rows: syncRowsMax, bytes: pageBytesMax },
      );
      for (const row of rows) {
        const { value: text } = decodeRow(row.value);
        if (isTombstone(text)) continue;
        const { value } = decodeState(text);
        if (value) visit(keyOfRow(row.key), value);
      }
      if (!more) return;
      from = `${rows.at(-1)!.key}\u0001`;
    }
  }
}
