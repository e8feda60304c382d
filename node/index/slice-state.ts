// What a replica is in one slice: in which view, whether it votes there, what it promised. One row of the store a
// slice. Invariant: a row names at most one change that is under way; `epoch` only grows.
import { type VoterId } from "../../shared/ids.ts";
import { type Refusal } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Ballot, NO_BALLOT } from "../../shared/versions.ts";
import { type Store, type StoreWrite } from "../ports.ts";
import { decodeJson, encodeJson, metaRow } from "./rows.ts";
import { type KnownView, type View, type ViewChange } from "./views.ts";

/**
 * "active": votes in its view. "sealed": holds what its view decided for those who join the next one, and takes
 * no more but from a leader who hands over. "none": holds nothing that anybody may rely on, but what it took from such a
 * leader for a view that it joins.
 */
export type SliceMode = "active" | "sealed" | "none";

export interface SliceState {
  /** The newest view in which this folder was active; else that of genesis. */
  view: View;
  /** What `view` was made from; undefined for genesis. */
  previous: View | undefined;
  mode: SliceMode;
  /** The change that ended `view`, as far as this folder knows. */
  forward: ViewChange | undefined;
  /** The change that this folder is joining. */
  joining: ViewChange | undefined;
  /** Whether this folder votes: active, and a member. Follows from the above. */
  votes: boolean;
  promised: Ballot;
  /**
   * The promise came with the view, and nobody is known to have used it: who it is made to needs no other for a first
   * election, as long as this process lives.
   */
  inherited: boolean;
  /**
   * The ballot of the previous view whose leader this folder serves still, although it has given up its vote there: the
   * lead is handed over. Ends with the first that anybody asks under a ballot of the new view; never survives the process.
   */
  serving: Ballot | undefined;
  /**
   * The same ballot as it is on disk beside `joining`: what this folder took under it counts as decided by the view that
   * it joins, and is never replaced by what others hold.
   */
  spared: Ballot | undefined;
  /**
   * The epoch for which this folder took registers so, until it is active there or later: it is not one that took part in
   * no decision of it.
   */
  owed: number | undefined;
  /** The disk refused the row: what it says in memory would not survive a crash. */
  promiseLost: boolean;
  /** Ends when all writes accepted so far are durable (or have failed). */
  written: Promise<void>;
  /** Writes accepted and not ended. */
  writing: number;
  /** Grows with every accepted write of registers; what is told of them is cached by it. */
  changes: number;
  /** Grows with those of objects and parts. */
  chainChanges: number;
}

/** A slice's row of the store. */
export interface MetaRow {
  readonly epoch: number;
  readonly promised: Ballot;
  /** Absent while the view is that of genesis. */
  readonly view?: View;
  readonly previous?: View;
  /** Absent: active. */
  readonly mode?: SliceMode;
  readonly forward?: ViewChange;
  readonly joining?: ViewChange;
  readonly spared?: Ballot;
  readonly owed?: number;
}

/** @param genesis the slice's view of epoch 1 */
export function loadState(store: Store, slice: Slice, voter: VoterId, genesis: View): SliceState {
  const row = store.get(metaRow(slice));
  const meta = row ? decodeJson<MetaRow>(row) : undefined;
  const view = meta?.view ?? genesis;
  const member = view.members.includes(voter);
  const mode = member ? (meta?.mode ?? "active") : "none";
  return {
    view,
    previous: meta?.previous,
    mode,
    forward: meta?.forward,
    joining: meta?.joining,
    votes: mode === "active",
    promised: meta?.promised ?? NO_BALLOT,
    inherited: false,
    serving: undefined,
    spared: meta?.spared,
    owed: meta?.owed,
    promiseLost: false,
    written: Promise.resolve(),
    writing: 0,
    changes: 0,
    chainChanges: 0,
  };
}

export function stateWrite(slice: Slice, state: SliceState): StoreWrite {
  const { view, previous, mode, forward, joining, spared, owed, promised } = state;
  const meta: MetaRow = {
    epoch: view.epoch,
    promised,
    ...(previous && { view, previous }),
    ...(mode !== "active" && { mode }),
    ...(forward && { forward }),
    ...(joining && { joining }),
    ...(joining && spared && { spared }),
    ...(owed !== undefined && { owed }),
  };
  return { key: metaRow(slice), value: encodeJson(meta) };
}

/** The newest view that a replica knows of: its own, or one that ended it. */
export function newestView({ view, previous, forward, joining }: SliceState): KnownView {
  let newest: KnownView = previous ? { ...view, previous } : view;
  for (const change of [forward, joining]) {
    if (change && change.view.epoch > newest.epoch) {
      newest = { ...change.view, previous: change.previous };
    }
  }
  return newest;
}

/** Why this replica does not take part, with what the asker should know. */
export function refuse(state: SliceState, reason: "promised" | "epoch"): Refusal {
  const refusal = { ok: false as const, reason, promised: state.promised, epoch: state.view.epoch };
  return reason === "epoch" ? { ...refusal, view: newestView(state) } : refusal;
}
