// The member table: every node's view of all nodes, merged from what they say of each other. Pure: no time, no calls.
// Rules (SWIM, Das 2002, section 4.2): a higher incarnation wins; within one, left > dead > suspect > alive. Only the
// node itself raises its incarnation, to refute what it hears of itself; no later life of it has an incarnation of an
// earlier one. What a node says of its own disk carries a stamp of its own, so that free bytes need no new incarnation.
// Merging is commutative, associative and idempotent. No operation but rows() and live() after a change takes longer in
// a larger cluster.
import { assert } from "../../shared/errors.ts";
import { type NodeId, type RingId } from "../../shared/ids.ts";
import {
  EMPTY_PART,
  findIn,
  type MemberRow,
  partOf,
  placeIn,
  type TablePart,
  tableParts,
  withoutRow,
  withRow,
} from "./table-part.ts";
import { isLive, type MemberState } from "./types.ts";

export { type MemberRow } from "./table-part.ts";
export { isLive } from "./types.ts";

/** A change of the table. */
export interface TableChange {
  readonly row: MemberRow;
  readonly previous: MemberRow | undefined;
}

/** Incarnations that a node has in one life: it would have to refute something every minute for 45 days. */
const INCARNATIONS_A_LIFE = 1 << 16;

/**
 * The incarnation with which a life begins. It is above all that the node had in earlier lives, though what it refuted
 * there is written nowhere: else nobody would see that it was restarted, and that it may lack what it missed.
 * @param starts how often the data folder was started, this time counted
 */
export function firstIncarnation(starts: number): number {
  return starts * INCARNATIONS_A_LIFE;
}

const RANK: Record<MemberState, number> = { alive: 0, suspect: 1, dead: 2, left: 3 };

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
  readonly #self: NodeId;
  readonly #parts: TablePart[];
  #size = 0;
  #liveCount = 0;
  /** Counts the changes. */
  #version = 0;
  #rows: readonly MemberRow[] | undefined;
  #live: readonly MemberRow[] | undefined;

  /** @param parts what is known besides this node itself; they are not changed */
  constructor(self: MemberRow, parts?: readonly TablePart[]) {
    this.#self = self.id;
    this.#parts = parts ? [...parts] : Array.from({ length: tableParts }, () => EMPTY_PART);
    for (const part of this.#parts) {
      this.#size += part.rows.length;
      this.#liveCount += part.live;
    }
    this.#put(self);
  }

  get self(): MemberRow {
    return this.find(this.#self)!;
  }

  /** How many rows there are. */
  get size(): number {
    return this.#size;
  }

  get liveCount(): number {
    return this.#liveCount;
  }

  /** Another number after every change. */
  get version(): number {
    return this.#version;
  }

  find(id: NodeId): MemberRow | undefined {
    return findIn(this.#parts[partOf(id)]!, id);
  }

  /** All rows by rising id. */
  rows(): readonly MemberRow[] {
    this.#rows ??= this.#parts.flatMap((part) => part.rows);
    return this.#rows;
  }

  /** Alive and suspect members by rising id. */
  live(): readonly MemberRow[] {
    this.#live ??= this.rows().filter(isLive);
    return this.#live;
  }

  /** Live members clockwise, from the first at or after `point`, each once. */
  *liveFrom(point: RingId): Generator<MemberRow, undefined> {
    const first = partOf(point);
    for (let step = 0; step <= tableParts; step++) {
      const part = this.#parts[(first + step) % tableParts]!;
      if (part.live === 0) continue;
      const place = step === 0 || step === tableParts ? placeIn(part, point) : 0;
      const rows = step === tableParts ? part.rows.slice(0, place) : part.rows.slice(place);
      for (const row of rows) if (isLive(row)) yield row;
    }
  }

  /** Live members counter-clockwise, from the last before `point`, each once; one at the point itself comes last. */
  *liveBefore(point: RingId): Generator<MemberRow, undefined> {
    const first = partOf(point);
    for (let step = 0; step <= tableParts; step++) {
      const part = this.#parts[(first - step + tableParts) % tableParts]!;
      if (part.live === 0) continue;
      const place = step === 0 || step === tableParts ? placeIn(part, point) : part.rows.length;
      const rows = step === tableParts ? part.rows.slice(place) : part.rows.slice(0, place);
      for (const row of rows.toReversed()) if (isLive(row)) yield row;
    }
  }

  /** Live members but this node, clockwise from it. */
  *liveAfterSelf(): Generator<MemberRow, undefined> {
    for (const row of this.liveFrom(this.#self)) if (row.id !== this.#self) yield row;
  }

  /** The `index`th live member by rising id. @param index 0 .. liveCount - 1 */
  liveAt(index: number): MemberRow {
    let left = index;
    for (const part of this.#parts) {
      if (left >= part.live) {
        left -= part.live;
        continue;
      }
      for (const row of part.rows) if (isLive(row) && left-- === 0) return row;
    }
    assert(false, `there are ${this.#liveCount} live members, not ${index + 1}`);
  }

  /** Rows of members that are not live, by rising id. */
  gone(): MemberRow[] {
    const parts = this.#parts.filter((part) => part.live < part.rows.length);
    return parts.flatMap((part) => part.rows.filter((row) => !isLive(row)));
  }

  /**
   * Merges a row about another node, or about this one from an earlier life of it. Undefined when nothing is new.
   * A row about this node that contradicts it is refuted: the change then shows this node with a higher incarnation.
   */
  apply(heard: MemberRow): TableChange | undefined {
    const known = this.find(heard.id);
    if (heard.id === this.#self) return this.#refute(heard);
    const row = known ? mergeRow(known, heard) : heard;
    if (row === known) return undefined;
    this.#put(row);
    return { row, previous: known };
  }

  /** Sets another node's state in the incarnation that is known, as this node's failure detector finds. */
  declare(id: NodeId, state: MemberState, sinceMs: number): TableChange | undefined {
    const known = this.find(id);
    return known && this.apply({ ...known, state, sinceMs });
  }

  /** This node leaves for good: in this incarnation nothing makes it live again. Undefined when it left before. */
  leave(sinceMs: number): TableChange | undefined {
    const previous = this.self;
    if (previous.state === "left") return undefined;
    const row: MemberRow = { ...previous, state: "left", sinceMs };
    this.#put(row);
    return { row, previous };
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
    const known = this.find(id);
    if (id === this.#self || !known) return;
    this.#replace(partOf(id), withoutRow(this.#parts[partOf(id)]!, known));
  }

  /** One hash of the whole table: equal tables have equal ones. */
  digest(): number {
    let hash = 0x811c9dc5;
    for (const { digest } of this.#parts) hash = Math.imul(hash ^ digest, 0x01000193);
    return hash >>> 0;
  }

  /** The hash of each part. */
  digests(): number[] {
    return this.#parts.map((part) => part.digest);
  }

  /** Rows of one part. */
  part(number: number): readonly MemberRow[] {
    return this.#parts[number]?.rows ?? [];
  }

  #refute(heard: MemberRow): TableChange | undefined {
    const previous = this.self;
    if (heard.incarnation < previous.incarnation) return undefined;
    const same = heard.folder === previous.folder && heard.peerAddress === previous.peerAddress;
    // Of a node that left nothing worse can be said.
    const isHarmless =
      same && RANK[heard.state] <= RANK[previous.state] && !isStale(heard, previous);
    if (isHarmless && heard.stamp <= previous.stamp) return undefined;
    const row = {
      ...previous,
      incarnation: isHarmless ? previous.incarnation : heard.incarnation + 1,
      stamp: Math.max(previous.stamp, heard.stamp) + 1,
    };
    this.#put(row);
    return { row, previous };
  }

  #put(row: MemberRow): void {
    this.#replace(partOf(row.id), withRow(this.#parts[partOf(row.id)]!, row));
  }

  #replace(number: number, part: TablePart): void {
    const before = this.#parts[number]!;
    this.#parts[number] = part;
    this.#size += part.rows.length - before.rows.length;
    this.#liveCount += part.live - before.live;
    this.#version++;
    this.#rows = undefined;
    this.#live = undefined;
  }
}

/** Whether a row about this node is from a life that others think newer than the one it is in. */
function isStale(heard: MemberRow, own: MemberRow): boolean {
  return heard.incarnation > own.incarnation;
}
