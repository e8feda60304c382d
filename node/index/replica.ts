// One node's copies of registers, slice by slice: the acceptor of the protocol.
// Invariants: nothing is answered before it is durable; a promise never falls; a register's version never falls;
// READREG answers only under exactly the promised ballot, and only after every write accepted before is durable.
import { RingstowError } from "../../shared/errors.ts";
import { type VoterId } from "../../shared/ids.ts";
import { promiseNamesBytesMax, scanBytesMax } from "../../shared/limits.ts";
import { type Refusal, type StoredRegister, type Want } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import {
  type Ballot,
  NO_BALLOT,
  NO_VERSION,
  type Version,
  ballotOf,
  epochOf,
} from "../../shared/versions.ts";
import { type Store, type StoreWrite } from "../ports.ts";
import { type IndexFaults } from "./faults.ts";
import { type ScanRange } from "./member-link.ts";
import { allNames, readRegister, readRegisters, rowsAfter, scanRows } from "./stored-registers.ts";
import {
  bodyRow,
  decodeJson,
  encodeJson,
  encodeRow,
  keyOfRow,
  metaRow,
  registerRow,
  versionOfRow,
} from "./rows.ts";
import {
  type AcceptReply,
  type NamesReply,
  type PrepareReply,
  type ReadFastReply,
  type ReadRegReply,
  type ScanReply,
} from "./replica-replies.ts";
import { type View } from "./views.ts";

interface SliceState {
  readonly view: View;
  readonly votes: boolean;
  promised: Ballot;
  /** The disk refused a promise: what is promised in memory would not survive a crash. */
  promiseLost: boolean;
  /** Ends when all writes accepted so far are durable (or have failed). */
  written: Promise<void>;
  /** Writes accepted and not ended. */
  writing: number;
  /** Grows with every accepted write; digests are cached by it. */
  changes: number;
}

interface MetaRow {
  readonly epoch: number;
  readonly promised: Ballot;
}

export interface ReplicaOptions {
  readonly store: Store;
  readonly voter: VoterId;
  readonly viewOf: (slice: Slice) => View;
  readonly faults?: IndexFaults | undefined;
}

export class Replica {
  readonly #store: Store;
  readonly #voter: VoterId;
  readonly #viewOf: (slice: Slice) => View;
  readonly #faults: IndexFaults;
  readonly #slices = new Map<Slice, SliceState>();
  /** Versions accepted and not yet durable, by register row. */
  readonly #pending = new Map<string, Version>();

  constructor(options: ReplicaOptions) {
    this.#store = options.store;
    this.#voter = options.voter;
    this.#viewOf = options.viewOf;
    this.#faults = options.faults ?? {};
  }

  /** Whether this data folder votes in the slice's view. */
  votesIn(slice: Slice): boolean {
    return this.#state(slice).votes;
  }

  viewOf(slice: Slice): View {
    return this.#state(slice).view;
  }

  /** Highest ballot promised, durable or about to be. */
  promised(slice: Slice): Ballot {
    return this.#state(slice).promised;
  }

  /** A number that changes with every write to the slice since start. */
  changes(slice: Slice): number {
    return this.#state(slice).changes;
  }

  /** Whether all writes of a slice are durable. */
  quiet(slice: Slice): boolean {
    return this.#state(slice).writing === 0;
  }

  async prepare(claims: readonly { slice: Slice; ballot: Ballot }[]): Promise<PrepareReply[]> {
    const writes: StoreWrite[] = [];
    const taken: SliceState[] = [];
    const replies: (Refusal | undefined)[] = claims.map(({ slice, ballot }) => {
      const state = this.#state(slice);
      if (!state.votes || epochOf(ballot) !== state.view.epoch) return refuse(state, "epoch");
      const again = ballot === state.promised && state.promiseLost;
      if (ballot <= state.promised && !again) return refuse(state, "promised");
      state.promised = ballot;
      writes.push(this.#metaWrite(slice, state));
      taken.push(state);
      return undefined;
    });
    await this.#writePromises(writes, taken);
    let budget = promiseNamesBytesMax;
    const answers: PrepareReply[] = [];
    for (const [i, { slice }] of claims.entries()) {
      const refused = replies[i];
      const names = refused || budget <= 0 ? undefined : await allNames(this.#store, slice);
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
    if (!state.votes || epochOf(ballot) !== state.view.epoch) return refuse(state, "epoch");
    if (ballot < state.promised) return refuse(state, "promised");
    const writes: StoreWrite[] = [];
    if (ballot > state.promised || state.promiseLost) {
      state.promised = ballot;
      writes.push(this.#metaWrite(slice, state));
    }
    const skipped = await this.#keep(slice, state, registers, writes);
    // What was skipped waited for another message's write, which may have failed, as may an earlier promise.
    if (state.promiseLost || skipped.some((one) => one.version > this.#versionOf(slice, one.key))) {
      throw new RingstowError("Unavailable", "Cannot accept a write: the disk refused it");
    }
    return { ok: true };
  }

  async readReg(slice: Slice, ballot: Ballot, keys: readonly string[]): Promise<ReadRegReply> {
    const state = this.#state(slice);
    if (!this.#mayRead(state, ballot)) return refuse(state, this.#reason(state, ballot));
    await state.written;
    if (!this.#mayRead(state, ballot)) return refuse(state, this.#reason(state, ballot));
    return { ok: true, registers: keys.map((key) => this.#read(slice, key, "body")) };
  }

  async names(slice: Slice, ballot: Ballot, after: string): Promise<NamesReply> {
    const state = this.#state(slice);
    if (!this.#mayRead(state, ballot)) return refuse(state, this.#reason(state, ballot));
    await state.written;
    const { rows, more } = await rowsAfter(this.#store, slice, after);
    if (!this.#mayRead(state, ballot)) return refuse(state, this.#reason(state, ballot));
    return { ok: true, keys: rows.map((row) => keyOfRow(row.key)), more };
  }

  confirm(slice: Slice, ballot: Ballot): AcceptReply {
    const state = this.#state(slice);
    return state.votes && state.promised === ballot && !state.promiseLost
      ? { ok: true }
      : refuse(state, this.#reason(state, ballot));
  }

  readFast(slice: Slice, key: string, want: Want): ReadFastReply {
    const state = this.#state(slice);
    if (!state.votes) return refuse(state, "epoch");
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
    if (!state.votes) return refuse(state, "epoch");
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
  async versions(
    slice: Slice,
    after: string,
  ): Promise<{ rows: { key: string; version: Version }[]; more: boolean }> {
    const { rows, more } = await rowsAfter(this.#store, slice, after);
    return {
      rows: rows.map((row) => ({ key: keyOfRow(row.key), version: versionOfRow(row.value) })),
      more,
    };
  }

  /** Whole registers, the first of those asked for: as many as fit into one reply, at least one. */
  fetch(slice: Slice, keys: readonly string[]): { epoch: number; registers: StoredRegister[] } {
    return {
      epoch: this.viewOf(slice).epoch,
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
    let state = this.#slices.get(slice);
    if (!state) {
      const row = this.#store.get(metaRow(slice));
      const meta = row ? decodeJson<MetaRow>(row) : undefined;
      const view = this.#viewOf(slice);
      state = {
        view,
        votes: view.members.includes(this.#voter),
        promised: meta?.promised ?? NO_BALLOT,
        promiseLost: false,
        written: Promise.resolve(),
        writing: 0,
        changes: 0,
      };
      this.#slices.set(slice, state);
    }
    return state;
  }

  #metaWrite(slice: Slice, state: SliceState): StoreWrite {
    const meta: MetaRow = { epoch: state.view.epoch, promised: state.promised };
    return { key: metaRow(slice), value: encodeJson(meta) };
  }

  #mayRead(state: SliceState, ballot: Ballot): boolean {
    if (this.#faults.noPromiseEquality === true) return state.votes;
    return state.votes && state.promised === ballot && !state.promiseLost;
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
      const present = this.#pending.get(row) ?? versionOfRow(this.#store.get(row));
      if (register.version <= present) {
        skipped.push(register);
        continue;
      }
      writes.push({ key: row, value: encodeRow(register.version, register.value ?? "") });
      // A body row exists only beside a register that has one; deleting a missing row is harmless.
      if (register.body || present !== NO_VERSION) {
        writes.push({ key: bodyRow(slice, register.key), value: register.body });
      }
      this.#pending.set(row, register.version);
      added.push([row, register.version]);
    }
    if (writes.length === 0) {
      await before;
      return skipped;
    }
    try {
      await this.#writePromises(writes, promises, [state]);
      return skipped;
    } finally {
      for (const [row, version] of added) {
        if (this.#pending.get(row) === version) this.#pending.delete(row);
      }
    }
  }

  /** Writes a batch that holds the promises of `promising`, and perhaps registers of the slices `states`. */
  async #writePromises(
    writes: readonly StoreWrite[],
    promising: readonly SliceState[],
    states: readonly SliceState[] = promising,
  ): Promise<void> {
    const promised = promising.map((state) => state.promised);
    try {
      await this.#write(writes, states);
    } catch (error) {
      for (const state of promising) state.promiseLost = true;
      throw error;
    }
    promising.forEach((state, i) => {
      if (state.promised === promised[i]) state.promiseLost = false;
    });
  }

  #write(writes: readonly StoreWrite[], states: readonly SliceState[]): Promise<void> {
    if (writes.length === 0) return Promise.resolve();
    const durable = this.#store.write(writes);
    const done = (): void => {
      for (const state of states) state.writing--;
    };
    const ended = durable.then(done, done);
    for (const state of states) {
      state.changes++;
      state.writing++;
      // The store ends batches in the order of the calls, so the newest one is the last to end.
      state.written = ended;
    }
    return durable;
  }

  #read(slice: Slice, key: string, want: Want): StoredRegister {
    return readRegister(this.#store, slice, key, want);
  }

  #versionOf(slice: Slice, key: string): Version {
    return versionOfRow(this.#store.get(registerRow(slice, key)));
  }
}

function refuse(state: SliceState, reason: "promised" | "epoch"): Refusal {
  return { ok: false, reason, promised: state.promised, epoch: state.view.epoch };
}
