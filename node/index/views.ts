// Who may vote in a slice. Epoch 1 of every slice is fixed by the genesis file: the first `copies` genesis nodes at
// or after the slice's anchor, in distinct zones as far as there are zones; each later one is decided by the one before
// it. The ring only hints; this decides.
import { type Genesis, type GenesisNode } from "../../shared/genesis.ts";
import { type VoterId, voterIdOf } from "../../shared/ids.ts";
import { successorIndex } from "../../shared/ring.ts";
import { type Slice, anchorOf } from "../../shared/slices.ts";

export interface View {
  readonly epoch: number;
  /** Voters in order of preference for the lead. 1, 3 or 5. */
  readonly members: readonly VoterId[];
}

/** A view as one hears of it: what it was made from is not always known. */
export interface KnownView extends View {
  readonly previous?: View | undefined;
}

/** How a view came about: the members of `previous` decided it, and hold what its members start from. */
export interface ViewChange {
  readonly view: View;
  readonly previous: View;
}

/** Whether two views name the same voters, in whatever order. */
export function sameMembers(a: readonly VoterId[], b: readonly VoterId[]): boolean {
  return a.length === b.length && a.every((voter) => b.includes(voter));
}

/** Votes that decide in a view of `members` voters. */
export function majorityOf(members: number): number {
  return Math.floor(members / 2) + 1;
}

/** Voters a slice gets: as many as asked for and there are nodes, made odd. */
export function viewSize(copies: number, nodes: number): number {
  const most = Math.min(copies, nodes);
  return most % 2 === 1 ? most : most - 1;
}

/** The view of epoch 1 of every slice. */
export function genesisViews(genesis: Genesis): (slice: Slice) => View {
  const nodes = genesis.nodes.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const ids = nodes.map((node) => node.id);
  const size = viewSize(genesis.copies, nodes.length);
  const cache = new Map<number, View>();
  return (slice) => {
    const first = successorIndex(ids, anchorOf(slice, genesis.sliceBits));
    let view = cache.get(first);
    if (!view) {
      view = { epoch: 1, members: pick(nodes, first, size) };
      cache.set(first, view);
    }
    return view;
  };
}

/** The first `size` nodes from `first` on, clockwise, skipping a zone that is taken while fresh zones remain. */
function pick(nodes: readonly GenesisNode[], first: number, size: number): VoterId[] {
  const clockwise = nodes.map((_, i) => nodes[(first + i) % nodes.length]!);
  const zones = new Set<string>();
  const fresh = clockwise.filter((node) => {
    if (zones.has(node.zone)) return false;
    zones.add(node.zone);
    return true;
  });
  const rest = clockwise.filter((node) => !fresh.includes(node));
  const chosen = new Set([...fresh, ...rest].slice(0, size));
  return clockwise
    .filter((node) => chosen.has(node))
    .map((node) => voterIdOf(node.id, node.folder));
}
