// The live member table of a node: the pure table, the rumours about it, its snapshot and its listeners, in one step.
// Invariant: every change that others should know goes through commit(), so none is spread but not announced here.
import { type NodeId } from "../../shared/ids.ts";
import { deadKeptMs, pingRowsMax } from "../../shared/limits.ts";
import { type Clock } from "../ports.ts";
import { isLive, type MemberRow, MemberTable, type TableChange } from "./member-table.ts";
import { Rumours } from "./rumours.ts";
import { type TableStore } from "./table-store.ts";
import { type Member } from "./types.ts";

export type ChangeListener = (member: Member, previous: Member | undefined) => void;

/** How much of the cluster a node sees. The side of a healed partition with fewer live members yields. */
export interface Side {
  readonly live: number;
  readonly least: NodeId;
}

export class Membership {
  readonly table: MemberTable;
  readonly #clock: Clock;
  readonly #rumours = new Rumours();
  readonly #listeners = new Set<ChangeListener>();
  #saved: TableStore | undefined;

  constructor(self: MemberRow, clock: Clock) {
    this.table = new MemberTable(self);
    this.#clock = clock;
  }

  get self(): MemberRow {
    return this.table.self;
  }

  saveTo(saved: TableStore): void {
    this.#saved = saved;
  }

  onChange(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Spreads a change, saves it, tells the listeners. */
  commit(change: TableChange | undefined): void {
    if (!change) return;
    const { row, previous } = change;
    this.#rumours.add(row.id, this.table.rows().length);
    if (!isNotable(row, previous)) return;
    if (row.state !== "suspect") this.#saved?.touch(row.id);
    for (const listener of this.#listeners) listener(row, previous);
  }

  /** Whether a row about a node that this one does not know is worth knowing: the long dead are not. */
  isNews(row: MemberRow): boolean {
    if (isLive(row) || this.table.find(row.id)) return true;
    return this.#clock.wallMs() - row.sinceMs < deadKeptMs;
  }

  /** Forgets who is dead for longer than `deadKeptMs`. Nodes of genesis stay: views may still name them. */
  forgetLongDead(genesis: ReadonlySet<NodeId>): void {
    const now = this.#clock.wallMs();
    for (const row of this.table.rows()) {
      if (isLive(row) || genesis.has(row.id) || now - row.sinceMs < deadKeptMs) continue;
      this.table.remove(row.id);
      this.#saved?.touch(row.id);
    }
  }

  /**
   * Rows that ride on a message: this node's own, the receiver's when this node thinks it is not well (so that it can
   * refute), and recent changes.
   */
  rowsFor(receiver: NodeId | undefined): MemberRow[] {
    const ids = new Set([this.self.id, ...this.#rumours.take(pingRowsMax)]);
    const about = receiver && this.table.find(receiver);
    if (about && about.state !== "alive") ids.add(about.id);
    return [...ids].flatMap((id) => this.table.find(id) ?? []);
  }

  side(): Side {
    const live = this.table.live();
    return { live: live.length, least: live[0]!.id };
  }
}

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
