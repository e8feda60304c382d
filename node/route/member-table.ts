// The member table: every node's view of all nodes, merged from what they say of each other. Pure: no time, no calls.
// Rules (SWIM, Das 2002, section 4.2): a higher incarnation wins; within one, left > dead > suspect > alive. Only the
// node itself raises its incarnation, to refute what it hears of itself. What a node says of its own disk carries a
// stamp of its own, so that free bytes need no new incarnation. Merging is commutative, associative and idempotent.
import type * as z from "zod/mini";
import { type NodeId } from "../../shared/ids.ts";
import { type memberRowSchema } from "../../shared/protocol/route.ts";
import { type Member, type MemberState } from "./types.ts";

/** A member as it travels and is stored. */
export interface MemberRow extends Member {
  readonly stamp: number;
}

/** A change of the table. */
export interface TableChange {
  readonly row: MemberRow;
  readonly previous: MemberRow | undefined;
}

const RANK: Record<MemberState, number> = { alive: 0, suspect: 1, dead: 2, left: 3 };

/** Parts of the id space whose rows are hashed together. */
export const DIGEST_PARTS = 256;

export const isLive = (member: Pick<Member, "state">): boolean =>
  member.state === "alive" || member.state === "suspect";

/** A row from the wire. */
export function rowFromWire(wire: z.infer<typeof memberRowSchema>): MemberRow {
  return { ...wire, position: wire.position };
}

/** What is known after hearing `heard`; the same object as `known` when it says nothing new. */
export function mergeRow(known: MemberRow, heard: MemberRow): MemberRow {
  if (heard.incarnation !== known.incarnation) {
    return heard.incarnation > known.incarnation ? heard : known;
  }
  const newerState = RANK[heard.state] > RANK[known.state];
  const newerContent = heard.stamp > known.stamp;
  if (!newerState && !newerContent) return known;
  const content = newerContent ? heard : known;
  const standing = newerState ? heard : known;
  return { ...content, state: standing.state, sinceMs: standing.sinceMs };
}

export class MemberTable {
  readonly #rows = new Map<NodeId, MemberRow>();
  readonly #self: NodeId;
  #sorted: readonly MemberRow[] | undefined;
  #live: readonly MemberRow[] | undefined;

  constructor(self: MemberRow) {
    this.#self = self.id;
    this.#put(self);
  }

  get self(): MemberRow {
    return this.#rows.get(this.#self)!;
  }

  find(id: NodeId): MemberRow | undefined {
    return this.#rows.get(id);
  }

  /** All rows by rising id. */
  rows(): readonly MemberRow[] {
    this.#sorted ??= [...this.#rows.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1));
    return this.#sorted;
  }

  /** Alive and suspect members by rising id. */
  live(): readonly MemberRow[] {
    this.#live ??= this.rows().filter(isLive);
    return this.#live;
  }

  /**
   * Merges a row about another node, or about this one from an earlier life of it. Undefined when nothing is new.
   * A row about this node that contradicts it is refuted: the change then shows this node with a higher incarnation.
   */
  apply(heard: MemberRow): TableChange | undefined {
    const known = this.#rows.get(heard.id);
    if (heard.id === this.#self) return this.#refute(heard);
    const row = known ? mergeRow(known, heard) : heard;
    if (row === known) return undefined;
    this.#put(row);
    return { row, previous: known };
  }

  /** Sets another node's state in the incarnation that is known, as this node's failure detector finds. */
  declare(id: NodeId, state: MemberState, sinceMs: number): TableChange | undefined {
    const known = this.#rows.get(id);
    return known && this.apply({ ...known, state, sinceMs });
  }

  /** Changes what this node says of itself. Others take it over only with a new stamp. */
  restate(
    content: { capacityBytes: number; freeBytes: number },
    options: { newStamp: boolean },
  ): TableChange {
    const previous = this.self;
    const stamp = previous.stamp + (options.newStamp ? 1 : 0);
    const row = { ...previous, ...content, stamp };
    this.#put(row);
    return { row, previous };
  }

  /** Forgets a row. */
  remove(id: NodeId): void {
    if (id === this.#self || !this.#rows.delete(id)) return;
    this.#sorted = undefined;
    this.#live = undefined;
  }

  /** A hash of each of 256 parts of the id space (by the id's first byte); 0 for an empty part. */
  digests(): number[] {
    const digests: number[] = Array.from({ length: DIGEST_PARTS }, () => 0);
    for (const row of this.#rows.values()) {
      const part = partOf(row.id);
      digests[part] = (digests[part]! ^ hashRow(row)) >>> 0;
    }
    return digests;
  }

  /** Rows of some parts. */
  rowsOf(parts: ReadonlySet<number>): MemberRow[] {
    return this.rows().filter((row) => parts.has(partOf(row.id)));
  }

  #refute(heard: MemberRow): TableChange | undefined {
    const previous = this.self;
    if (heard.incarnation < previous.incarnation) return undefined;
    const same = heard.folder === previous.folder && heard.peerAddress === previous.peerAddress;
    const harmless = heard.incarnation === previous.incarnation && heard.state === "alive" && same;
    if (harmless && heard.stamp <= previous.stamp) return undefined;
    const row = {
      ...previous,
      incarnation: harmless ? previous.incarnation : heard.incarnation + 1,
      stamp: Math.max(previous.stamp, heard.stamp) + 1,
    };
    this.#put(row);
    return { row, previous };
  }

  #put(row: MemberRow): void {
    this.#rows.set(row.id, row);
    this.#sorted = undefined;
    this.#live = undefined;
  }
}

function partOf(id: NodeId): number {
  return Number.parseInt(id.slice(0, 2), 16);
}

/** FNV-1a over what merging looks at; equal rows hash equally on every node. */
function hashRow(row: MemberRow): number {
  const text = `${row.id} ${row.incarnation} ${row.state} ${row.stamp}`;
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}
