// What a block wants done for it, decided from its pointers and from who is there. Pure. One step at a time: the next
// one is decided from the pointers that the first one leaves.
import { type BlockId, type NodeId } from "../../shared/ids.ts";
import { type BlockRef } from "../../shared/records.ts";
import { type RepairStep } from "./types.ts";

/** Who holds copies of a block; few different ones, however many blocks. */
export interface Holders {
  /** Nodes with the newest bytes. */
  readonly newest: readonly NodeId[];
  /** Replicas that have older bytes, or none yet. */
  readonly behind: readonly NodeId[];
  readonly former: readonly NodeId[];
}

export interface Health {
  /** Copies that every block should have. */
  readonly copies: number;
  /** Nodes that can be read from. */
  readonly live: ReadonlySet<NodeId>;
  /** Those of them that nobody suspects: they may be asked to make copies. */
  readonly able: ReadonlySet<NodeId>;
  /** Dead for so long that its copies are to be replaced, or gone for good. */
  isLost(node: NodeId): boolean;
  zoneOf(node: NodeId): string | undefined;
}

const NONE: ReadonlySet<NodeId> = new Set();

type Omitted<T> = T extends unknown ? Omit<T, "at" | "block"> : never;
export type Plan = Omitted<RepairStep>;

export function holdersOf({ replicas, former }: BlockRef): Holders {
  const version = Math.max(0, ...replicas.map((one) => one.version));
  const nodes = (newest: boolean): NodeId[] =>
    replicas
      .filter((one) => (one.version === version) === newest)
      .map(({ node }) => node)
      .toSorted();
  return { newest: nodes(true), behind: nodes(false), former: (former ?? []).toSorted() };
}

/** Copies of the newest bytes that could be read now: the fewer, the more endangered is the block. */
export function copiesLeft({ newest }: Holders, { live }: Pick<Health, "live">): number {
  return newest.filter((node) => live.has(node)).length;
}

/** What else is known of a block whose repair is planned. */
export interface PlanOptions {
  /** Which block it is decides who loses a copy that is one too many; who asks only whether there is a step leaves it out. */
  readonly block?: BlockId | undefined;
  /** Copies that failed a read. */
  readonly bad?: ReadonlySet<NodeId> | undefined;
}

/** The next step; undefined when there is none, or none that could be done now. */
export function planRepair(
  holders: Holders,
  health: Health,
  { block, bad = NONE }: PlanOptions = {},
): Plan | undefined {
  const { newest, behind, former } = holders;
  const { copies, live, able } = health;
  const left = newest.filter((node) => live.has(node) && !bad.has(node));
  if (left.length === 0) return undefined; // nothing to copy from
  const poor = [...newest.filter((node) => bad.has(node)), ...behind];
  const mendable = poor.find((node) => able.has(node));
  if (mendable !== undefined) return { kind: "copy", onto: mendable };
  const lost = [...behind, ...newest].find((node) => health.isLost(node));
  if (lost !== undefined && left.length >= copies) return drop(lost, left);
  const named = newest.length + behind.length;
  const spare = [...able].some((node) => ![...newest, ...behind, ...former].includes(node));
  if (spare && lost !== undefined) return { kind: "copy", instead: lost };
  if (spare && named < copies) return { kind: "copy" };
  if (left.length > copies) return drop(oneTooMany(left, health, block), left);
  const back = former.find((node) => able.has(node));
  return back === undefined ? undefined : { kind: "release", node: back };
}

function drop(instead: NodeId, left: readonly NodeId[]): Plan {
  return { kind: "drop", instead, keep: left.filter((node) => node !== instead) };
}

/** The one to drop: of those that share their zone, if some do. Ids of blocks are random, so each node loses its share. */
function oneTooMany(nodes: readonly NodeId[], { zoneOf }: Health, block = "0"): NodeId {
  const sharing = nodes.filter((node) =>
    nodes.some((other) => other !== node && zoneOf(other) === zoneOf(node)),
  );
  const choice = sharing.length > 0 ? sharing : nodes;
  return choice[Number.parseInt(block.slice(0, 8), 16) % choice.length]!;
}
