// Walks over the registers of this node: how many chains there are, which name too few live replicas, and which hold
// garbage that is old enough to go. A slice that did not change is not walked again for the counts.
import { type NodeId } from "../../shared/ids.ts";
import { garbageDelayMs, pageBytesMax, syncRowsMax } from "../../shared/limits.ts";
import { type BlockRef } from "../../shared/records.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Clock, type Store } from "../ports.ts";
import { decodeState, isTombstone } from "./register-state.ts";
import { readRows } from "./read-rows.ts";
import { decodeRow, keyOfRow, registerRow, registerRowsEnd } from "./rows.ts";
import { type Replica } from "./replica.ts";
import { type Chain, type RegisterKey, type RegisterValue, blocksOf } from "./types.ts";

const CENSUS_REST = 20; // times as long as a walk took: a slice under writes costs a twentieth of the time at most
const FIRST_KIND = "o"; // objects and parts: buckets and gates sort before them

interface SliceCensus {
  readonly changes: number;
  readonly chains: number;
  /** How many blocks each set of nodes holds: few sets, however many blocks. */
  readonly blocksOf: ReadonlyMap<string, { readonly nodes: readonly NodeId[]; blocks: number }>;
  /** Monotonic ms at which a changed slice is walked again: a long walk is made seldom. */
  readonly againMs: number;
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

  /** Blocks of a slice's chains and of their uploads' parts with fewer than `copies` replicas on live nodes. */
  async underReplicated(
    slice: Slice,
    copies: number,
    isLive: (node: NodeId) => boolean,
  ): Promise<number> {
    let few = 0;
    for (const { nodes, blocks } of (await this.#of(slice)).blocksOf.values()) {
      if (nodes.filter(isLive).length < copies) few += blocks;
    }
    return few;
  }

  /**
   * Calls `visit` for every chain of a slice with garbage that is due at `wallMs`, and that garbage alone, and `locked`
   * for every chain with a lock. A bounded number of each; the next walk finds the others.
   */
  async visitDue(
    slice: Slice,
    wallMs: number,
    visit: (key: RegisterKey, chain: Chain) => Promise<void>,
    locked: (key: RegisterKey) => Promise<void>,
  ): Promise<void> {
    const due: [RegisterKey, Chain][] = [];
    const locks: RegisterKey[] = [];
    await this.#walk(slice, (key, value) => {
      if (value.kind !== "object") return;
      const { chain } = value;
      if (chain.lock && locks.length < syncRowsMax) locks.push(key);
      if (due.length >= syncRowsMax) return;
      const garbage = chain.garbage.filter(({ sinceMs }) => wallMs - sinceMs >= garbageDelayMs);
      if (garbage.length > 0) due.push([key, { ...chain, garbage }]);
    });
    for (const key of locks) await locked(key);
    for (const [key, chain] of due) await visit(key, chain);
  }

  async #of(slice: Slice): Promise<SliceCensus> {
    // A write that is accepted and not durable has raised `changes` already, and the walk may miss it.
    const quiet = this.#replica.quiet(slice);
    const changes = this.#replica.changes(slice);
    const known = this.#known.get(slice);
    const begunMs = this.#clock.monotonicMs();
    if (known && (known.changes === changes || begunMs < known.againMs)) return known;
    const blocks = new Map<string, { nodes: NodeId[]; blocks: number }>();
    let chains = 0;
    await this.#walk(slice, (_, value) => {
      if (value.kind === "object" && value.chain.entries.length > 0) chains++;
      for (const block of blocksIn(value)) {
        const nodes = block.replicas.map(({ node }) => node).toSorted();
        const set = blocks.get(nodes.join()) ?? { nodes, blocks: 0 };
        blocks.set(nodes.join(), set);
        set.blocks++;
      }
    });
    const endedMs = this.#clock.monotonicMs();
    const againMs = endedMs + (endedMs - begunMs) * CENSUS_REST;
    const census = { changes: quiet ? changes : -1, chains, blocksOf: blocks, againMs };
    this.#known.set(slice, census);
    return census;
  }

  async #walk(
    slice: Slice,
    visit: (key: RegisterKey, value: RegisterValue) => void,
  ): Promise<void> {
    const to = registerRowsEnd(slice);
    for (let from = registerRow(slice, FIRST_KIND); ;) {
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

/** Blocks that a register names itself: a multipart object's stand in the registers of its parts. */
function blocksIn(value: RegisterValue): readonly BlockRef[] {
  if (value.kind === "object") return value.chain.entries.flatMap((entry) => blocksOf(entry));
  return value.kind === "part" && value.part.body.kind === "blocks" ? value.part.body.blocks : [];
}
