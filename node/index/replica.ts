// One node's copies of registers, slice by slice: the acceptor of the protocol.
// Invariants: nothing is answered before it is durable; a promise never falls; a register's version never falls;
// READREG answers only under exactly the promised ballot, and only after every write accepted before is durable.
// Only an active member of a view votes in it (view-replica.ts).
import { RingstowError } from "../../shared/errors.ts";
import { promiseNamesBytesMax, scanBytesMax } from "../../shared/limits.ts";
import {
  type Refusal,
  type StoredRegister,
  type VersionPage,
  type Want,
} from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import {
  type Ballot,
  NO_VERSION,
  type Version,
  ballotOf,
  epochOf,
  roundOf,
  voterOf,
} from "../../shared/versions.ts";
import { type Store, type StoreWrite } from "../ports.ts";
import { type IndexFaults } from "./faults.ts";
import { type ScanRange } from "./member-link.ts";
import { allNames, readRegister, readRegisters, rowsAfter, scanRows } from "./stored-registers.ts";
import { bodyRow, encodeRow, keyOfRow, registerRow, versionOfRow } from "./rows.ts";
import {
  type AcceptReply,
  type NamesReply,
  type PrepareReply,
  type ReadFastReply,
  type ReadRegReply,
  type ScanReply,
} from "./replica-replies.ts";
import { type SliceState, refuse, stateWrite } from "./slice-state.ts";
import { SliceStates, type SliceStatesOptions } from "./slice-states.ts";
import { type RegisterKey, kindOf } from "./types.ts";
import { type View } from "./views.ts";

export interface ReplicaOptions extends SliceStatesOptions {
  readonly faults?: IndexFaults | undefined;
}

export class Replica {
  /** Shared with the node's part in changes of views. */
  readonly states: SliceStates;
  readonly #store: Store;
  readonly #faults: IndexFaults;

  constructor(options: ReplicaOptions) {
    this.states = new SliceStates(options);
    this.#store = options.store;
    this.#faults = options.faults ?? {};
  }

  /** Whether this data folder votes in the slice's view. */
  votesIn(slice: Slice): boolean {
    return this.#state(slice).votes;
  }

  /** The newest view in which this folder was active; that of genesis when it never was. */
  viewOf(slice: Slice): View {
    return this.#state(slice).view;
  }

  /** Whether this node may lead under a ballot: it votes, and promised nothing higher; or it hands over. */
  mayLead(slice: Slice, ballot: Ballot): boolean {
    const { votes, promised, serving } = this.#state(slice);
    return serving === ballot || (votes && promised === ballot);
  }

  /** The ballot of the leader who hands over to this folder's next view, as long as it is served. */
  serving(slice: Slice): Ballot | undefined {
    return this.#state(slice).serving;
  }

  /** Highest ballot promised, durable or about to be. */
  promised(slice: Slice): Ballot {
    return this.#state(slice).promised;
  }

  /** Whether the promise came with the view, so that nobody need have been elected. */
  inherits(slice: Slice): boolean {
    const { inherited, view, promised } = this.#state(slice);
    const isFirst = roundOf(promised) === 1 && view.epoch > 1;
    return inherited || (this.#faults.inheritedForEver === true && isFirst);
  }

  /** Somebody was elected under the promise that came with the view: it serves for no other election. */
  spendInherited(slice: Slice): void {
    const state = this.#state(slice);
    state.inherited = false;
    this.#overtake(state);
  }

  /**
   * The promise that came with the view, as PREPARE would answer it; undefined when another one was made since. Who is
   * told of it may have been elected then, or not: it serves for an election still.
   */
  async inheritedPromise(
    slice: Slice,
    ballot: Ballot,
  ): Promise<{ keys: string[] | undefined } | undefined> {
    const state = this.#state(slice);
    const { votes, promised, promiseLost } = state;
    if (!votes || promised !== ballot || promiseLost || !this.inherits(slice)) return undefined;
    this.#overtake(state);
    await state.written;
    return { keys: await this.#names(slice) };
  }

  /** A number that changes with every write to the slice since start. */
  changes(slice: Slice): number {
    return this.#state(slice).changes;
  }

  /** The same of its objects and parts alone. */
  chainChanges(slice: Slice): number {
    return this.#state(slice).chainChanges;
  }

  /** Whether all writes of a slice are durable. */
  quiet(slice: Slice): boolean {
    return this.#state(slice).writing === 0;
  }

  async prepare(claims: readonly { slice: Slice; ballot: Ballot }[]): Promise<PrepareReply[]> {
    const writes: StoreWrite[] = [];
    const taken: SliceState[] = [];
    const ended: Promise<void>[] = [];
    const replies: (Refusal | undefined)[] = claims.map(({ slice, ballot }) => {
      const state = this.#state(slice);
      if (!state.votes || epochOf(ballot) !== state.view.epoch) return refuse(state, "epoch");
      const isInherited = this.inherits(slice) && ballot === state.promised;
      const again = ballot === state.promised && state.promiseLost;
      if (ballot <= state.promised && !again && !isInherited) return refuse(state, "promised");
      this.#overtake(state);
      // Who was told so knows: a later process of the same voter must make a new claim. Our own may be made again.
      if (voterOf(ballot) !== this.states.voter) state.inherited = false;
      if (isInherited && !state.promiseLost) {
        // Durable since the view began; what the leader who handed over had accepted here may not be.
        ended.push(state.written);
        return undefined;
      }
      state.promised = ballot;
      state.inherited &&= isInherited;
      writes.push(stateWrite(slice, state));
      taken.push(state);
      return undefined;
    });
    await Promise.all([this.states.writePromises(writes, taken), ...ended]);
    let budget = promiseNamesBytesMax;
    const answers: PrepareReply[] = [];
    for (const [i, { slice }] of claims.entries()) {
      const refused = replies[i];
      const names = refused || budget <= 0 ? undefined : await this.#names(slice);
      for (const name of names ?? []) budget -= name.length;
      answers.push(refused ?? { ok: true, keys: names });
    }
    return answers;
  }

  async accept(
    slice: Slice,
    ballot: Ballot,
    registers: readonly StoredRegister[],
  ): Promise<AcceptReply> {
    const state = this.#state(slice);
    const isServed = state.serving === ballot;
    const writes: StoreWrite[] = [];
    if (!isServed) {
      if (!state.votes || epochOf(ballot) !== state.view.epoch) return refuse(state, "epoch");
      if (ballot < state.promised) return refuse(state, "promised");
      state.inherited = false;
      this.#overtake(state);
      if (ballot > state.promised || state.promiseLost) {
        state.promised = ballot;
        writes.push(stateWrite(slice, state));
      }
    }
    // Who hands over has decided on the next view, and this folder knows: that decision comes late, and is of no use.
    const wanted = isServed
      ? registers.filter((one) => kindOf(one.key as RegisterKey) !== "view")
      : registers;
    const skipped = await this.#keep(slice, state, wanted, writes);
    // What was skipped waited for another message's write, which may have failed, as may an earlier promise.
    const isLost = state.promiseLost && !isServed;
    if (isLost || skipped.some((one) => one.version > this.#versionOf(slice, one.key))) {
      throw new RingstowError("Unavailable", "Cannot accept a write: the disk refused it");
    }
    return { ok: true };
  }

  async readReg(slice: Slice, ballot: Ballot, keys: readonly string[]): Promise<ReadRegReply> {
    const state = this.#state(slice);
    if (!this.#mayAsk(state, ballot)) return refuse(state, this.#reason(state, ballot));
    await state.written;
    if (!this.#mayAsk(state, ballot)) return refuse(state, this.#reason(state, ballot));
    return { ok: true, registers: keys.map((key) => this.#read(slice, key, "body")) };
  }

  async names(slice: Slice, ballot: Ballot, after: string): Promise<NamesReply> {
    const state = this.#state(slice);
    if (!this.#mayAsk(state, ballot)) return refuse(state, this.#reason(state, ballot));
    await state.written;
    const { rows, more } = await rowsAfter(this.#store, slice, after);
    if (!this.#mayAsk(state, ballot)) return refuse(state, this.#reason(state, ballot));
    return { ok: true, keys: rows.map((row) => keyOfRow(row.key)), more };
  }

  confirm(slice: Slice, ballot: Ballot): AcceptReply {
    const state = this.#state(slice);
    if (state.serving === ballot) return { ok: true };
    if (!state.votes || state.promised !== ballot || state.promiseLost) {
      return refuse(state, this.#reason(state, ballot));
    }
    this.spendInherited(slice);
    return { ok: true };
  }

  readFast(slice: Slice, key: string, want: Want): ReadFastReply {
    const state = this.#state(slice);
    // While the lead is handed over, only the leader's word counts.
    if (!state.votes || state.serving !== undefined) return refuse(state, "epoch");
    return {
      ok: true,
      epoch: state.view.epoch,
      members: [...state.view.members],
      register: this.#read(slice, key, want),
    };
  }

  /** A page of a range; `more` when it ends before the range does, for its rows or its bytes. */
  async scan(range: ScanRange, bytesMax = scanBytesMax): Promise<ScanReply> {
    const state = this.#state(range.slice);
    if (!state.votes || state.serving !== undefined) return refuse(state, "epoch");
    const { rows, more } = await scanRows(this.#store, range, bytesMax);
    return { ok: true, epoch: state.view.epoch, members: [...state.view.members], rows, more };
  }

  /** Several ranges in one reply: they share its bytes, and each brings at least one row. */
  async scanAll(ranges: readonly ScanRange[]): Promise<ScanReply[]> {
    const replies: ScanReply[] = [];
    let left = scanBytesMax;
    for (const [i, range] of ranges.entries()) {
      const reply = await this.scan(range, Math.max(0, left) / (ranges.length - i));
      if (reply.ok) for (const { value } of reply.rows) left -= value?.length ?? 0;
      replies.push(reply);
    }
    return replies;
  }

  /** (key, version) of a slice's durable registers, in pages. */
  versions(slice: Slice, after: string): Promise<VersionPage> {
    return this.states.versions(slice, after);
  }

  /** The first page of them, if it is in memory. */
  knownVersions(slice: Slice): VersionPage | undefined {
    return this.states.knownVersions(slice);
  }

  /**
   * Whole registers, the first of those asked for: as many as fit into one reply, at least one. With the epoch in which
   * this folder is active; 0 when it is not.
   */
  fetch(slice: Slice, keys: readonly string[]): { epoch: number; registers: StoredRegister[] } {
    const { votes, view } = this.#state(slice);
    return {
      epoch: votes ? view.epoch : 0,
      registers: readRegisters(this.#store, slice, keys, scanBytesMax),
    };
  }

  /** A durable register; version "" when there is none. */
  read(slice: Slice, key: string, want: Want): StoredRegister {
    return this.#read(slice, key, want);
  }

  /**
   * Anti-entropy: takes what is newer and not below the promise. Never an ACK.
   * @returns keys whose newer version the promise forbids: only the leader can settle them.
   */
  async sync(slice: Slice, epoch: number, registers: readonly StoredRegister[]): Promise<string[]> {
    const state = this.#state(slice);
    if (!state.votes || state.view.epoch !== epoch) return [];
    const allowed = registers.filter(
      (register) =>
        this.#faults.syncIgnoresPromise === true || ballotOf(register.version) >= state.promised,
    );
    await this.#keep(slice, state, allowed, []);
    return registers
      .filter((register) => register.version > this.#versionOf(slice, register.key))
      .map((register) => register.key);
  }

  // ------------------------------------------------------------------ inside

  #state(slice: Slice): SliceState {
    return this.states.of(slice);
  }

  /** Names of all registers of a slice; undefined when there are more than a promise carries. */
  async #names(slice: Slice): Promise<string[] | undefined> {
    const { rows, more } = await this.states.versions(slice, "");
    return more ? allNames(this.#store, slice) : rows.map(({ key }) => key);
  }

  /** Whether a leader may read under a ballot here. Who reads under that of a new view ends the handing over to it. */
  #mayAsk(state: SliceState, ballot: Ballot): boolean {
    if (state.serving === ballot) return true;
    const isPromised = state.promised === ballot && !state.promiseLost;
    if (!state.votes || (!isPromised && this.#faults.noPromiseEquality !== true)) return false;
    this.#overtake(state);
    return true;
  }

  /**
   * The next view is led: the leader who handed over to it is not served any more. Who tells what is held here waits for
   * what that one had accepted to be durable.
   */
  #overtake(state: SliceState): void {
    if (this.#faults.servesOn !== true) state.serving = undefined;
  }

  #reason(state: SliceState, ballot: Ballot): "promised" | "epoch" {
    return state.votes && epochOf(ballot) === state.view.epoch ? "promised" : "epoch";
  }

  /**
   * Adds the registers that are newer than ours to a batch, writes it, and waits until it is durable.
   * Answers which were not added: ours was as new, or a write under way is.
   */
  async #keep(
    slice: Slice,
    state: SliceState,
    registers: readonly StoredRegister[],
    writes: StoreWrite[],
  ): Promise<StoredRegister[]> {
    const before = state.written;
    const skipped: StoredRegister[] = [];
    const promises = writes.length > 0 ? [state] : [];
    const added: [string, Version][] = [];
    for (const register of registers) {
      const row = registerRow(slice, register.key);
      const present = this.states.latest(slice, register.key);
      if (register.version <= present) {
        skipped.push(register);
        continue;
      }
      writes.push({ key: row, value: encodeRow(register.version, register.value ?? "") });
      // A body row exists only beside a register that has one; deleting a missing row is harmless.
      if (register.body || present !== NO_VERSION) {
        writes.push({ key: bodyRow(slice, register.key), value: register.body });
      }
      added.push([row, register.version]);
    }
    if (writes.length === 0) {
      await before;
      return skipped;
    }
    const { states } = this;
    await states.writeVersions(added, () => states.writePromises(writes, promises, [state]));
    return skipped;
  }

  #read(slice: Slice, key: string, want: Want): StoredRegister {
    return readRegister(this.#store, slice, key, want);
  }

  #versionOf(slice: Slice, key: string): Version {
    return versionOfRow(this.#store.get(registerRow(slice, key)));
  }
}
