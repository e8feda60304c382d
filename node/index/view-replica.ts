// One node's part in the changes of views, slice by slice: seals, joins, becomes active, gives its copy up.
// Invariants: a sealed member never votes in that view again, and what it holds stays; a member becomes active durably
// before it votes; a copy that others may need is not deleted.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId, nodeOfVoter } from "../../shared/ids.ts";
import { type StoredRegister } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import {
  type Ballot,
  type Version,
  ballotOf,
  epochOf,
  makeBallot,
  voterOf,
} from "../../shared/versions.ts";
import { type StoreWrite } from "../ports.ts";
import { type IndexFaults } from "./faults.ts";
import { type SealReply, type SnapshotReply } from "./replica-replies.ts";
import { bodyRow, encodeRow, REGISTER_ROWS_END, registerRow, sliceOfRow } from "./rows.ts";
import { type SliceState, newestView, refuse, stateWrite } from "./slice-state.ts";
import { type SliceStates } from "./slice-states.ts";
import { type RegisterKey, kindOf } from "./types.ts";
import { type KnownView, type ViewChange } from "./views.ts";

export interface ViewReplicaOptions {
  readonly states: SliceStates;
  /**
   * This folder has given up its vote in a view: whoever leads here does so no longer, unless it is the leader who is
   * `serving` while it hands over.
   */
  readonly onSealed: (slice: Slice, change: ViewChange, serving?: Ballot) => void;
  /**
   * The leader who hands over is not served any more, before the new view was led.
   * @param told somebody ends the change another way already
   */
  readonly onDismissed?: ((slice: Slice, told: boolean) => void) | undefined;
  readonly faults?: IndexFaults | undefined;
}

export class ViewReplica {
  readonly #states: SliceStates;
  readonly #onSealed: ViewReplicaOptions["onSealed"];
  readonly #onDismissed: ViewReplicaOptions["onDismissed"];
  readonly #faults: IndexFaults;

  constructor({ states, onSealed, onDismissed, faults }: ViewReplicaOptions) {
    this.#states = states;
    this.#onSealed = onSealed;
    this.#onDismissed = onDismissed;
    this.#faults = faults ?? {};
  }

  /** The newest view that this folder knows of. */
  newestView(slice: Slice): KnownView {
    return newestView(this.#states.of(slice));
  }

  /** What this folder is in the slice, and which changes of views it knows of. */
  standing(slice: Slice): Pick<SliceState, "view" | "previous" | "mode" | "forward" | "joining"> {
    return this.#states.of(slice);
  }

  /**
   * SEAL: gives up this folder's vote in `change.previous`, durably, before it answers. From then on its registers stay
   * as they are, so that a majority of such members holds all that was decided in that view. One that never was active
   * in it has nothing, and says durably that it never will be: it took part in no decision, and may be counted too.
   * @param leader the leader of `change.previous` who hands over: it is served still, by whoever has promised nobody else
   */
  async seal(slice: Slice, change: ViewChange, leader?: Ballot): Promise<SealReply> {
    const state = this.#states.of(slice);
    if (leader === undefined || state.serving !== leader) this.#toldOf(slice, change);
    const { view, mode } = state;
    const holds = mode !== "none";
    if (holds && view.epoch === change.view.epoch) return this.#joined(slice, state);
    if (holds && view.epoch === change.previous.epoch) {
      if (mode === "active") {
        this.#giveUp(slice, state, change, "sealed", leader);
        // Ordered behind every write accepted before: when this is durable, they have ended.
        await this.#states.save(slice, state);
      }
      await this.#states.assure(slice, state);
      const page = await this.#states.versions(slice, "");
      if (this.#holds(state, change.view.epoch)) return this.#joined(slice, state);
      return { ok: true, state: "sealed", ...(this.#holds(state, view.epoch) && { page }) };
    }
    const isMember = change.previous.members.includes(this.#states.voter);
    if (!isMember || view.epoch >= change.previous.epoch) return refuse(state, "epoch");
    const { joining, forward } = state;
    // What it took for that view while the lead was handed over counts there.
    if (state.owed === change.previous.epoch) return refuse(state, "epoch");
    const isOvertaken = joining !== undefined && joining.view.epoch < change.view.epoch;
    if (isOvertaken) state.joining = state.spared = undefined;
    // Not only what it joins may say so: it can still be told not to.
    if (holds || isOvertaken || (forward?.view.epoch ?? 0) < change.view.epoch) {
      this.#giveUp(slice, state, change, "none");
      await this.#states.save(slice, state);
    }
    await this.#states.assure(slice, state);
    return { ok: true, state: "empty" };
  }

  /** A member of the new view, with the first page of what it holds there. */
  async #joined(slice: Slice, state: SliceState): Promise<SealReply> {
    const { epoch } = state.view;
    await state.written;
    const page = await this.#states.versions(slice, "");
    return { ok: true, state: "joined", ...(this.#holds(state, epoch) && { page }) };
  }

  /**
   * INSTALL: seals this folder when it is active in an older view, and notes durably that it is to join, if it is.
   * True when it is to join `change` now.
   * @param settled nobody needs what is here of an older view
   */
  async install(slice: Slice, change: ViewChange, settled = false): Promise<boolean> {
    this.#toldOf(slice, change);
    return this.#install(slice, change, settled);
  }

  /**
   * Like INSTALL, but this folder goes on to serve the leader of the previous view, who hands over; a newcomer begins to.
   * False when it does not: then that leader cannot.
   */
  async enter(slice: Slice, change: ViewChange, leader: Ballot): Promise<boolean> {
    const state = this.#states.of(slice);
    const { view, mode, joining, promised } = state;
    const isMember = change.view.members.includes(this.#states.voter);
    if (!isMember || newestView(state).epoch > change.view.epoch) return false;
    const isAgain = joining !== undefined && joining.view.epoch === change.view.epoch;
    if (isAgain) {
      await this.#states.assure(slice, state);
      return state.serving === leader;
    }
    if (joining && state.spared !== undefined) return false;
    const wasMember = change.previous.members.includes(this.#states.voter);
    const votes = mode === "active" && view.epoch === change.previous.epoch;
    if (wasMember && (!votes || promised !== leader)) return false;
    if (!wasMember && mode !== "none" && view.epoch >= change.previous.epoch) return false;
    state.spared = leader;
    state.owed = change.view.epoch;
    state.serving = leader;
    try {
      await this.#install(slice, change, false, leader);
    } catch (error) {
      this.dismiss(slice, leader);
      throw error;
    }
    return state.serving === leader && state.joining?.view.epoch === change.view.epoch;
  }

  /** The ballot of the leader who hands over, as long as it is served here. */
  serving(slice: Slice): Ballot | undefined {
    return this.#states.of(slice).serving;
  }

  /** Whether this folder is active in the view of an epoch. */
  isActive(slice: Slice, epoch: number): boolean {
    const { view, mode } = this.#states.of(slice);
    return mode === "active" && view.epoch === epoch;
  }

  /** The view of a change is led: the leader who handed over to it is over, and the promise that came with it is used. */
  led(slice: Slice, change: ViewChange): void {
    const state = this.#states.of(slice);
    state.serving = undefined;
    if (this.isActive(slice, change.view.epoch)) state.inherited = false;
  }

  /** From now on the leader who hands over, or that of `ballot` alone, is not served: somebody has to end the change. */
  dismiss(slice: Slice, ballot?: Ballot): void {
    const state = this.#states.of(slice);
    if (ballot === undefined || state.serving === ballot) this.#dismiss(slice, state, false);
  }

  async #install(
    slice: Slice,
    change: ViewChange,
    settled: boolean,
    leader?: Ballot,
  ): Promise<boolean> {
    const state = this.#states.of(slice);
    const { view, joining, mode } = state;
    if (newestView(state).epoch > change.view.epoch || view.epoch === change.view.epoch) {
      return false;
    }
    const isMember = change.view.members.includes(this.#states.voter);
    const isNew = isMember && joining?.view.epoch !== change.view.epoch;
    // A view before the last one has been left behind by a majority of its successor: nobody needs what it held.
    const isStale = view.epoch < change.previous.epoch && mode !== "none";
    // An earlier view is not joined any more, whether this folder is of the later one or not.
    const isOvertaken = joining !== undefined && joining.view.epoch < change.view.epoch;
    // What it took for the view that it joins counts there: it joins that one first, while it can.
    const isBound =
      state.spared !== undefined &&
      joining?.view.epoch === change.previous.epoch &&
      change.previous.members.length > 0;
    if (isBound && !settled) return true;
    if ((isNew || isOvertaken) && leader === undefined) state.spared = undefined;
    if (isNew || isOvertaken) state.joining = isMember ? change : undefined;
    if (isOvertaken && !isMember) state.forward = change; // else it would forget that it knows of this view
    if (isStale) this.#giveUp(slice, state, change, "none", leader);
    const isSealed = view.epoch === change.previous.epoch && mode === "active";
    if (isSealed)
      this.#giveUp(slice, state, change, settled && !isMember ? "none" : "sealed", leader);
    if (isNew || isOvertaken || isStale || isSealed) await this.#states.save(slice, state);
    await this.#states.assure(slice, state);
    return isMember && state.joining === (isNew ? change : joining);
  }

  /**
   * The folder is not to join any more: another view is there. False when what it took for this one may still count.
   * @param outlived somebody is active in a later view already, and holds all that counts
   */
  async leaveJoin(slice: Slice, change: ViewChange, outlived: boolean): Promise<boolean> {
    const state = this.#states.of(slice);
    if (state.joining !== change) return true;
    if (state.spared !== undefined && !outlived) return false;
    state.joining = state.spared = undefined;
    await this.#states.save(slice, state);
    return true;
  }

  /**
   * Becomes active in the view that it joins. All that a majority of the previous view held is stored already.
   * With the view comes a promise to its first member: it leads without an election.
   * @param gone registers that nobody holds, and that are deleted by the same batch
   * @returns false when it joins a newer view by now
   */
  async activate(slice: Slice, change: ViewChange, gone: readonly string[] = []): Promise<boolean> {
    const state = this.#states.of(slice);
    if (state.joining !== change) return false;
    const active: SliceState = {
      ...state,
      view: change.view,
      previous: change.previous,
      mode: "active",
      forward: undefined,
      joining: undefined,
      votes: true,
      promised: makeBallot(change.view.epoch, 1, change.view.members[0]!),
      inherited: true,
      spared: undefined,
      owed: undefined,
    };
    const unspared = gone.filter((key) => !this.#isSpared(slice, key));
    await this.#states.write([...deletions(slice, unspared), stateWrite(slice, active)], [state]);
    if (state.joining !== change) return false;
    const { view, previous, mode, forward, joining, votes, promised, inherited } = active;
    Object.assign(state, { view, previous, mode, forward, joining, votes, promised, inherited });
    Object.assign(state, { spared: undefined, owed: undefined, promiseLost: false });
    return true;
  }

  /** Nobody needs what this folder holds of a slice that it has left: says so, then deletes it. */
  async retire(slice: Slice): Promise<void> {
    const state = this.#states.of(slice);
    if (state.mode === "active") return;
    if (state.mode === "sealed") {
      state.mode = "none";
      await this.#states.save(slice, state);
    }
    await this.#states.assure(slice, state); // an earlier try may have failed there
    for (;;) {
      const { rows } = await this.#states.versions(slice, "");
      // The folder may have been asked to join again meanwhile.
      if (rows.length === 0 || this.#states.of(slice).joining) return;
      // With its body: no register, no body, whenever the process ends.
      const gone = rows.map(({ key }) => key);
      await this.#states.write(deletions(slice, gone), [state]);
    }
  }

  /** The first slice from a number on of which this folder has registers, its own or not. */
  async firstWithRows(from: number): Promise<Slice | undefined> {
    const range = { from: registerRow(from as Slice, ""), to: REGISTER_ROWS_END, limit: 1 };
    const [row] = await this.#states.store.range(range);
    return row && sliceOfRow(row.key);
  }

  /** A page of (key, version) of what this folder holds of an epoch, frozen or active. */
  async snapshot(slice: Slice, epoch: number, after: string): Promise<SnapshotReply> {
    const state = this.#states.of(slice);
    await state.written;
    const page = await this.#states.versions(slice, after);
    return this.#holds(state, epoch) ? { ok: true, ...page } : refuse(state, "epoch");
  }

  /** Stores registers as they are given, whatever is there that is not spared. Only while it does not vote. */
  async put(slice: Slice, registers: readonly StoredRegister[]): Promise<void> {
    const state = this.#states.of(slice);
    if (state.votes) throw new RingstowError("Unavailable", "Cannot copy into a slice in use");
    const writes: StoreWrite[] = [];
    const versions: [string, Version][] = [];
    for (const { key, version, value, body } of registers) {
      if (this.#isSpared(slice, key) && this.#states.latest(slice, key) >= version) continue;
      const row = registerRow(slice, key);
      versions.push([row, version]);
      writes.push({ key: row, value: encodeRow(version, value ?? "") });
      writes.push({ key: bodyRow(slice, key), value: body });
    }
    await this.#states.writeVersions(versions, () => this.#states.write(writes, [state]));
  }

  /** The leaders of a node that hand over are not served any more: it is gone. */
  dismissOf(node: NodeId): void {
    for (const [slice, { serving }] of this.#states.known())
      if (serving !== undefined && nodeOfVoter(voterOf(serving)!) === node)
        this.dismiss(slice, serving);
  }

  /** Whether this folder holds what it held in an epoch: rows may be deleted, but never before the mode changed. */
  #holds({ view, mode }: SliceState, epoch: number): boolean {
    return view.epoch === epoch && mode !== "none";
  }

  /**
   * Whether a register here was taken from a leader while it hands over: that counts. Who follows a view is of no use in
   * the next one.
   */
  #isSpared(slice: Slice, key: string): boolean {
    const { spared } = this.#states.of(slice);
    if (spared === undefined || this.#faults.sparesNothing === true) return false;
    if (kindOf(key as RegisterKey) === "view") return false;
    return ballotOf(this.#states.latest(slice, key)) === spared;
  }

  /** Somebody ends a change of view. A leader who hands over a later view has nothing to do with an earlier one. */
  #toldOf(slice: Slice, { view }: ViewChange): void {
    const state = this.#states.of(slice);
    if (state.serving !== undefined && view.epoch > epochOf(state.serving))
      this.#dismiss(slice, state, true);
  }

  #dismiss(slice: Slice, state: SliceState, told: boolean): void {
    if (state.serving === undefined) return;
    state.serving = undefined;
    this.#onDismissed?.(slice, told);
  }

  #giveUp(
    slice: Slice,
    state: SliceState,
    change: ViewChange,
    mode: "sealed" | "none",
    leader?: Ballot,
  ): void {
    if (this.#faults.noSeal === true && mode === "sealed") return;
    const mayServe = leader !== undefined && state.promised === leader;
    state.mode = mode;
    state.votes = false;
    state.forward = change;
    if (mayServe) state.serving = leader;
    this.#onSealed(slice, change, leader !== undefined ? state.serving : undefined);
  }
}

function deletions(slice: Slice, keys: readonly string[]): StoreWrite[] {
  return keys.flatMap((key) => [
    { key: registerRow(slice, key), value: undefined },
    { key: bodyRow(slice, key), value: undefined },
  ]);
}
