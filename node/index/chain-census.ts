// Walks over the registers of this node: how many chains there are, which name too few live replicas, and which hold
// garbage that is old enough to go. A slice that did not change is not walked again for the counts.
import { type NodeId } from "../../shared/ids.ts";
import { garbageDelayMs, syncRowsMax } from "../../shared/limits.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Store } from "../ports.ts";
import { blocksOf } from "./chain.ts";
import { decodeState, isTombstone } from "./register-state.ts";
import { decodeRow, keyOfRow, registerRow, registerRowsEnd } from "./rows.ts";
import { type Replica } from "./replica.ts";
import { type Chain, type RegisterKey, kindOf } from "./types.ts";

interface SliceCensus {
  readonly changes: number;
  readonly chains: number;
  /** Nodes that hold each block of each chain: one list a block. */
  readonly replicaSets: readonly (readonly NodeId[])[];
}

export class ChainCensus {
  readonly #store: Store;
  readonly #replica: Replica;
  readonly #known = new Map<Slice, SliceCensus>();

  constructor(store: Store, replica: Replica) {
    this.#store = store;
    this.#replica = replica;
  }

  /** Live chains of a slice as this node's replica has them. */
  async chains(slice: Slice): Promise<number> {
    return (await this.#of(slice)).chains;
  }

  /** Blocks of a slice's chains with fewer than `copies` replicas on live nodes. */
  async underReplicated(
    slice: Slice,
    copies: number,
    isLive: (node: NodeId) => boolean,
  ): Promise<number> {
    const { replicaSets } = await this.#of(slice);
    return replicaSets.filter((nodes) => nodes.filter(isLive).length < copies).length;
  }

  /** Calls `visit` for every chain of a slice with garbage that is due at `wallMs`, one after the other. */
  async visitGarbage(
    slice: Slice,
    wallMs: number,
    visit: (key: RegisterKey, chain: Chain) => Promise<void>,
  ): Promise<void> {
    const due: [RegisterKey, Chain][] = [];
    await this.#walk(slice, (key, chain) => {
      const isDue = chain.garbage.some(({ sinceMs }) => wallMs - sinceMs >= garbageDelayMs);
      if (isDue && due.length < syncRowsMax) due.push([key, chain]);
    });
    for (const [key, chain] of due) await visit(key, chain);
  }

  async #of(slice: Slice): Promise<SliceCensus> {
    const changes = this.#replica.changes(slice);
    const known = this.#known.get(slice);
    if (known?.changes === changes) return known;
    const replicaSets: NodeId[][] = [];
    let chains = 0;
    await this.#walk(slice, (_, chain) => {
      if (chain.entries.length === 0) return;
      chains++;
      for (const entry of chain.entries) {
        for (const block of blocksOf(entry))
          replicaSets.push(block.replicas.map(({ node }) => node));
      }
    });
    const census = { changes, chains, replicaSets };
    if (this.#replica.quiet(slice)) this.#known.set(slice, census);
    return census;
  }

  async #walk(slice: Slice, visit: (key: RegisterKey, chain: Chain) => void): Promise<void> {
    let from = registerRow(slice, "o");
    const to = registerRowsEnd(slice);
    for (;;) {
      const rows = await this.#store.range({ from, to, limit: syncRowsMax });
      for (const row of rows) {
        const key = keyOfRow(row.key);
        if (kindOf(key) !== "object") continue;
        const { value: text } = decodeRow(row.value);
        if (isTombstone(text)) continue;
        const { value } = decodeState(text);
        if (value?.kind === "object") visit(key, value.chain);
      }
      const last = rows.at(-1);
      if (!last || rows.length < syncRowsMax) return;
      from = `${last.key}\u0001`;
    }
  }
}
