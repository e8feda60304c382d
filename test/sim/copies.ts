// Who has what on disk: intact copies of blocks, and which machines a cluster can lose for good without losing what
// it acknowledged. A protocol that survives f losses a view promises nothing beyond them, so faults keep within.
import { type MemoryBlock } from "../../node/runtime/memory-disk.ts";
import { decodeState, valueOf } from "../../node/index/register-state.ts";
import {
  REGISTER_ROWS_END,
  decodeJson,
  decodeRow,
  keyOfRow,
  metaRow,
  registerRow,
} from "../../node/index/rows.ts";
import { type MetaRow } from "../../node/index/slice-state.ts";
import { blocksIn, viewKey } from "../../node/index/types.ts";
import { type View, genesisViews } from "../../node/index/views.ts";
import { copiesWanted } from "../../node/route/types.ts";
import { type BlockId, type NodeId, type VoterId } from "../../shared/ids.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Machine } from "./machine.ts";
import { type SeededChance } from "./seeded-chance.ts";
import { type World } from "./world.ts";

/** Blocks with a flipped bit, on whatever disk. */
const rotten = new WeakSet<MemoryBlock>();

/** Numbers of the nodes that have a good copy of a block and are not gone for good. */
export function intactCopies(world: World, block: BlockId): number[] {
  return world.machines.filter((machine) => isIntactAt(machine, block)).map(({ number }) => number);
}

function isIntactAt({ gone, disk }: Machine, id: BlockId): boolean {
  const block = disk.blocks.get(id);
  return gone === undefined && block !== undefined && !rotten.has(block);
}

/** What the registers on all disks say of who has copies of a block. */
interface Named {
  /** Nodes that each register names which names the block at all: no other copy is there to stay. */
  nodes: ReadonlySet<NodeId>;
  /** Most pointers in one register. */
  pointers: number;
}

function namedBlocks(world: World): Map<BlockId, Named> {
  const named = new Map<BlockId, Named>();
  const range = { from: registerRow(0 as Slice, ""), to: REGISTER_ROWS_END, limit: Infinity };
  for (const { disk } of world.machines) {
    for (const { value: row } of disk.rows(range)) {
      const value = valueOf(decodeState(decodeRow(row).value));
      for (const { id, replicas } of value ? blocksIn(value) : []) {
        const nodes = new Set(replicas.map(({ node }) => node));
        const other = named.get(id);
        named.set(id, {
          nodes: new Set([...nodes].filter((node) => other?.nodes.has(node) !== false)),
          pointers: Math.max(nodes.size, other?.pointers ?? 0),
        });
      }
    }
  }
  return named;
}

/**
 * Tells of blocks whether a good copy is left elsewhere when this machine loses its own. Not when one is dropped
 * maybe just now, because the one here is whole.
 */
function sparing(world: World, than: Machine): (id: BlockId) => boolean {
  const named = namedBlocks(world);
  const wanted = leastWanted(world);
  return (id) => {
    const { nodes, pointers } = named.get(id) ?? { nodes: undefined, pointers: 0 };
    return (
      pointers <= wanted &&
      world.machines.some(
        (machine) =>
          machine !== than && isIntactAt(machine, id) && (!nodes || nodes.has(machine.id!)),
      )
    );
  };
}

/** The least number of copies that a node is after; Infinity in a build without a ring. */
function leastWanted(world: World): number {
  const routes = world.up().flatMap((i) => world.node(i).route ?? []);
  return Math.min(...routes.map((route) => copiesWanted(route)));
}

/**
 * Whether a node can go for good: every view that may still be needed keeps a majority of members that are not gone,
 * and every block that the node holds has another good copy. Not one that maybe is made a member just now; where views
 * become ones of a single voter, that may be any.
 */
export function canLose(world: World, i: number): boolean {
  const machine = world.machines[i]!;
  if (machine.gone || machine.voter === undefined) return false;
  if (world.isCourted(i) || leastWanted(world) === 1) return false;
  for (let slice = 0; slice < 2 ** world.genesis.sliceBits; slice++) {
    for (const { members } of neededViews(world, slice as Slice)) {
      if (!members.includes(machine.voter)) continue;
      const left = members.filter((voter) => voter !== machine.voter && !isGone(world, voter));
      if (left.length <= members.length / 2) return false;
    }
  }
  const isSpared = sparing(world, machine);
  return [...machine.disk.blocks].every(([id, block]) => rotten.has(block) || isSpared(id));
}

function isGone(world: World, voter: VoterId): boolean {
  return !world.machines.some((machine) => machine.voter === voter);
}

/**
 * The newest view of a slice that is written on any disk, decided or about to be, and the two before it: the newest may
 * not be decided yet, and its members start from those of the one before. Earlier ones are not needed any more.
 */
function neededViews(world: World, slice: Slice): View[] {
  const views = new Map<number, View>();
  const add = (view: View | undefined): void => {
    if (view) views.set(view.epoch, view);
  };
  add(genesisViews(world.genesis)(slice));
  for (const { disk } of world.machines) {
    const row = disk.row(metaRow(slice));
    if (row) {
      const { view, previous, forward, joining } = decodeJson<MetaRow>(row);
      for (const change of [forward, joining]) {
        add(change?.view);
        add(change?.previous);
      }
      add(view);
      add(previous);
    }
    // What a leader has written down as the next view may be decided.
    const range = {
      from: registerRow(slice, viewKey(0)),
      to: registerRow(slice, viewKey(Number.MAX_SAFE_INTEGER)),
    };
    for (const { key, value } of disk.rows({ ...range, limit: 100 })) {
      const decided = valueOf(decodeState(decodeRow(value).value));
      if (decided?.kind !== "view") continue;
      add({ epoch: Number.parseInt(keyOfRow(key).slice(1), 16) + 1, members: decided.members });
    }
  }
  const newest = Math.max(...views.keys());
  return [newest, newest - 1, newest - 2].flatMap((epoch) => views.get(epoch) ?? []);
}

/** The views of all slices as each node that is up knows them, members by their numbers, rising. */
export function* knownViews(
  world: World,
): Generator<{ slice: Slice; epoch: number; members: number[]; node: number }> {
  for (const node of world.up()) {
    for (let number = 0; number < 2 ** world.genesis.sliceBits; number++) {
      const slice = number as Slice;
      const { epoch, members } = world.node(node).index.view(slice);
      const numbers = members.map((id) => world.numberOf(id)).toSorted((a, b) => a - b);
      yield { slice, epoch, members: numbers, node };
    }
  }
}

/** Flips a bit of one of a node's blocks that has a good copy elsewhere. False when there is none. */
export function rotOne(world: World, i: number, chance: SeededChance): boolean {
  const machine = world.machines[i]!;
  const { blocks } = machine.disk;
  const found = [...blocks].filter(([, block]) => block.size > 0 && !rotten.has(block));
  const isSpared = sparing(world, machine);
  const spared = found.filter(([, block]) =>
    // All names of the same bytes rot together.
    found.every(([id, other]) => other !== block || isSpared(id)),
  );
  if (spared.length === 0) return false;
  const [id, block] = chance.pick(spared);
  machine.disk.corruptBlock(id, chance.below(block.size));
  rotten.add(block);
  return true;
}

/** Marks a block that a directed test damaged itself. */
export function noteRotten(block: MemoryBlock): void {
  rotten.add(block);
}
