// One node's part in the changes of views, slice by slice: seals, joins, becomes active, gives its copy up.
// Invariants: a sealed member never votes in that view again, and what it holds stays; a member becomes active durably
// before it votes; a copy that others may need is not deleted.
import { RingstowError } from "../../shared/errors.ts";
import { type StoredRegister } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { makeBallot } from "../../shared/versions.ts";
import { type StoreWrite } from "../ports.ts";
import { type IndexFaults } from "./faults.ts";
import { type SealReply, type SnapshotReply } from "./replica-replies.ts";
import { bodyRow, encodeRow, REGISTER_ROWS_END, registerRow, sliceOfRow } from "./rows.ts";
import { type SliceState, newestView, refuse, stateWrite } from "./slice-state.ts";
import { type SliceStates } from "./slice-states.ts";
import { type KnownView, type ViewChange } from "./views.ts";

export interface ViewReplicaOptions {
  readonly states: SliceStates;
  /** This folder has given up its vote in a view: whoever leads here does so no longer. */
  readonly onSealed: (slice: Slice, change: ViewChange) => void;
  readonly faults?: IndexFaults | undefined;
}

export class ViewReplica {
  readonly #states: SliceStates;
  readonly #onSealed: (slice: Slice, change: ViewChange) => void;
  readonly #faults: IndexFaults;

  constructor({ states, onSealed, faults }: ViewReplicaOptions) {
    this.#states = states;
    this.#onSealed = onSealed;
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
   */
  async seal(slice: Slice, change: ViewChange): Promise<SealReply> {
    const state = this.#states.of(slice);
    const { view, mode } = state;
    const holds = mode !== "none";
    if (holds && view.epoch === change.view.epoch) return this.#joined(slice, state);
    if (holds && view.epoch === change.previous.epoch) {
      if (mode === "active") {
        this.#giveUp(slice, state, change, "sealed");
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
    const isOvertaken = joining !== undefined && joining.view.epoch < change.view.epoch;
    if (isOvertaken) state.joining = undefined;
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
    if (isNew || isOvertaken) state.joining = isMember ? change : undefined;
    if (isOvertaken && !isMember) state.forward = change; // else it would forget that it knows of this view
    if (isStale) this.#giveUp(slice, state, change, "none");
    const isSealed = view.epoch === change.previous.epoch && mode === "active";
    if (isSealed) this.#giveUp(slice, state, change, settled && !isMember ? "none" : "sealed");
    if (isNew || isOvertaken || isStale || isSealed) await this.#states.save(slice, state);
    await this.#states.assure(slice, state);
    return isMember && state.joining === (isNew ? change : joining);
  }

  /** The folder is not to join any more: another view is there, without it. */
  async leaveJoin(slice: Slice, change: ViewChange): Promise<void> {
    const state = this.#states.of(slice);
    if (state.joining !== change) return;
    state.joining = undefined;
    await this.#states.save(slice, state);
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
    };
    await this.#states.write([...deletions(slice, gone), stateWrite(slice, active)], [state]);
    if (state.joining !== change) return false;
    const { view, previous, mode, forward, joining, votes, promised, inherited } = active;
    Object.assign(state, { view, previous, mode, forward, joining, votes, promised, inherited });
    state.promiseLost = false;
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

  /** Stores registers as they are given, whatever is there. Only while it does not vote. */
  async put(slice: Slice, registers: readonly StoredRegister[]): Promise<void> {
    const state = this.#states.of(slice);
    if (state.votes) throw new RingstowError("Unavailable", "Cannot copy into a slice in use");
    const writes: StoreWrite[] = [];
    for (const { key, version, value, body } of registers) {
      writes.push({ key: registerRow(slice, key), value: encodeRow(version, value ?? "") });
      writes.push({ key: bodyRow(slice, key), value: body });
    }
    await this.#states.write(writes, [state]);
  }

  /** Whether this folder holds what it held in an epoch: rows may be deleted, but never before the mode changed. */
  #holds({ view, mode }: SliceState, epoch: number): boolean {
    return view.epoch === epoch && mode !== "none";
  }

  #giveUp(slice: Slice, state: SliceState, change: ViewChange, mode: "sealed" | "none"): void {
    if (this.#faults.noSeal === true && mode === "sealed") return;
    state.mode = mode;
    state.votes = false;
    state.forward = change;
    this.#onSealed(slice, change);
  }
}

function deletions(slice: Slice, keys: readonly string[]): StoreWrite[] {
  return keys.flatMap((key) => [
    { key: registerRow(slice, key), value: undefined },
    { key: bodyRow(slice, key), value: undefined },
  ]);
}
