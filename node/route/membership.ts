// The live member table of a node: the pure table, the rumours about it, its snapshot and its listeners, in one step.
// Invariant: every change that others should know goes through commit(), so none is spread but not announced here.
import { type CopiesSetting } from "../../shared/copies.ts";
import { fromHex, type NodeId, toHex } from "../../shared/ids.ts";
import { deadKeptMs, pingRowsMax, witnessesMax } from "../../shared/limits.ts";
import { type Clock } from "../ports.ts";
import { isLive, type MemberRow, MemberTable, type TableChange } from "./member-table.ts";
import { rowToWire, standingToWire, type WireRow, type WireStanding } from "./member-wire.ts";
import { Rumours } from "./rumours.ts";
import { type TablePart } from "./table-part.ts";
import { type TableStore } from "./table-store.ts";
import { type Member } from "./types.ts";

export type ChangeListener = (member: Member, previous: Member | undefined) => void;

/** What rides on a ping and its answer; see the protocol. */
export interface News {
  rows?: WireRow[] | undefined;
  standings?: WireStanding[] | undefined;
  side?: [live: number, least: Uint8Array] | undefined;
  copies?: CopiesSetting | undefined;
}

export class Membership {
  readonly table: MemberTable;
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #rumours = new Rumours();
  readonly #listeners = new Set<ChangeListener>();
  /** Who found a suspect unreachable. */
  readonly #witnesses = new Map<NodeId, Set<number>>();
  /** Monotonic ms at which a member was last seen to come or go; the others are as they are since the start. */
  readonly #turnedMs = new Map<NodeId, number>();
  #saved: TableStore | undefined;

  constructor(self: MemberRow, clock: Clock, parts?: readonly TablePart[]) {
    this.table = new MemberTable(self, parts);
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
  }

  get self(): MemberRow {
    return this.table.self;
  }

  /** This node has left for good. */
  get hasLeft(): boolean {
    return this.self.state === "left";
  }

  saveTo(saved: TableStore): void {
    this.#saved = saved;
  }

  onChange(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Spreads a change, saves it, tells the listeners.
   * @param options isOld: the others know it, as all that a starting node hears first
   */
  commit(change: TableChange | undefined, options: { isOld?: boolean } = {}): void {
    if (!change) return;
    const { row, previous } = change;
    if (!options.isOld) this.spread(row.id);
    if (row.state !== "suspect" || row.incarnation !== previous?.incarnation)
      this.#witnesses.delete(row.id);
    if (isLive(row) !== isLive(previous)) this.#turnedMs.set(row.id, this.#clock.monotonicMs());
    if (!isNotable(row, previous)) return;
    if (row.state !== "suspect") this.#saved?.touch(row.id);
    for (const listener of this.#listeners) listener(row, previous);
  }

  /** What this node knows of a member rides on the next pings. */
  spread(id: NodeId): void {
    this.#rumours.add(id, this.table.size);
  }

  /** How long a member has been what it is, live or not, as this node saw it since its start. */
  standsForMs(id: NodeId): number {
    return this.#clock.monotonicMs() - (this.#turnedMs.get(id) ?? this.#startedMs);
  }

  witnesses(id: NodeId): ReadonlySet<number> {
    return this.#witnesses.get(id) ?? NOBODY;
  }

  /**
   * Adds to those who found a suspect unreachable; what was to be sent of it anyway tells of them, too. True when one
   * is new. No more is needed: the first node that has heard of enough ends the suspicion for all.
   */
  addWitnesses(id: NodeId, heard: readonly number[]): boolean {
    const known = this.#witnesses.get(id) ?? new Set();
    const before = known.size;
    for (const each of heard) if (known.size < witnessesMax) known.add(each);
    this.#witnesses.set(id, known);
    return known.size > before;
  }

  /** Whether a row about a node that this one does not know is worth knowing: the long dead are not. */
  isNews(row: MemberRow): boolean {
    if (isLive(row) || this.table.find(row.id)) return true;
    return this.#clock.wallMs() - row.sinceMs < deadKeptMs;
  }

  /** Forgets who is gone for longer than `deadKeptMs`. Nodes of genesis stay: views may still name them. */
  forgetLongDead(genesis: ReadonlySet<NodeId>): void {
    const now = this.#clock.wallMs();
    for (const { id, sinceMs } of this.table.gone()) {
      if (genesis.has(id) || now - sinceMs < deadKeptMs) continue;
      this.table.remove(id);
      this.#turnedMs.delete(id);
      this.#saved?.touch(id);
    }
  }

  /**
   * News for a message: recent changes; what this node thinks of the receiver when it thinks it is not well, so that
   * it can refute; this node's own row when the receiver does not know it.
   * @param told whose rows the receiver has just told
   */
  newsFor(
    receiver: NodeId | undefined,
    options: { introduce?: boolean; told?: ReadonlySet<NodeId> | undefined } = {},
  ): News {
    const ids = new Set(this.#rumours.take(pingRowsMax, options.told));
    if (options.introduce) ids.add(this.self.id);
    const about = receiver && this.table.find(receiver);
    if (about && about.state !== "alive") ids.add(about.id);
    const rows: WireRow[] = [];
    const standings: WireStanding[] = [];
    for (const id of ids) {
      const row = this.table.find(id);
      const isWhole = row?.state === "alive" || (options.introduce && id === this.self.id);
      if (row && isWhole) rows.push(rowToWire(row));
      else if (row) standings.push(standingToWire(row, [...this.witnesses(id)]));
    }
    const news: News = {};
    if (rows.length > 0) news.rows = rows;
    if (standings.length > 0) news.standings = standings;
    if (about?.state === "dead") news.side = this.side();
    return news;
  }

  side(): [live: number, least: Uint8Array] {
    const { liveCount } = this.table;
    const least = liveCount > 0 ? this.table.liveAt(0).id : this.self.id;
    return [liveCount, fromHex(least)];
  }

  /** Whether this node's side of a healed partition is the smaller one. */
  yieldsTo([live, least]: readonly [live: number, least: Uint8Array]): boolean {
    const [ownLive, ownLeast] = this.side();
    if (ownLive !== live) return ownLive < live;
    return toHex(ownLeast) > toHex(least);
  }
}

const NOBODY: ReadonlySet<number> = new Set();

function isNotable(row: MemberRow, previous: MemberRow | undefined): boolean {
  if (!previous) return true;
  return (
    row.state !== previous.state ||
    row.incarnation !== previous.incarnation ||
    row.folder !== previous.folder ||
    row.peerAddress !== previous.peerAddress ||
    row.url !== previous.url ||
    row.zone !== previous.zone
  );
}
