// One node's copies of registers, slice by slice: the acceptor of the protocol.
// Invariants: nothing is answered before it is durable; a promise never falls; a register's version never falls;
// READREG answers only under exactly the promised ballot, and only after every write accepted before is durable.
import { type VoterId } from "../../shared/ids.ts";
import {
  electionKeysMax,
  promiseNamesBytesMax,
  scanRowsMax,
  syncRowsMax,
} from "../../shared/limits.ts";
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
import { type Row, type Store, type StoreWrite } from "../ports.ts";
import { type IndexFaults } from "./faults.ts";
import {
  bodyRow,
  decodeJson,
  decodeRow,
  encodeJson,
  encodeRow,
  keyOfRow,
  metaRow,
  registerRow,
  registerRowsEnd,
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
    const taken: { slice: Slice; state: SliceState; ballot: Ballot }[] = [];
    const replies: (Refusal | undefined)[] = claims.map(({ slice, ballot }) => {
      const state = this.#state(slice);
      if (!state.votes || epochOf(ballot) !== state.view.epoch) return refuse(state, "epoch");
      if (ballot <= state.promised) return refuse(state, "promised");
      state.promised = ballot;
      writes.push(this.#metaWrite(slice, state));
      taken.push({ slice, state, ballot });
      return undefined;
    });
    const durable = this.#write(
      writes,
      taken.map(({ state }) => state),
    );
    await durable;
    let budget = promiseNamesBytesMax;
    const answers: PrepareReply[] = [];
    for (const [i, { slice }] of claims.entries()) {
      const refused = replies[i];
      const names = refused || budget <= 0 ? undefined : await this.#allNames(slice);
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
    if (ballot > state.promised) {
      state.promised = ballot;
      writes.push(this.#metaWrite(slice, state));
    }
    const before = state.written;
    await this.#keep(slice, state, registers, writes, before);
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
    const { rows, more } = await this.#rowsAfter(slice, after);
    if (!this.#mayRead(state, ballot)) return refuse(state, this.#reason(state, ballot));
    return { ok: true, keys: rows.map((row) => keyOfRow(row.key)), more };
  }

  confirm(slice: Slice, ballot: Ballot): AcceptReply {
    const state = this.#state(slice);
    return state.votes && state.promised === ballot
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

  async scan(range: {
    slice: Slice;
    from: string;
    to: string;
    limit: number;
    want: Want;
  }): Promise<ScanReply> {
    const state = this.#state(range.slice);
    if (!state.votes) return refuse(state, "epoch");
    const limit = Math.min(range.limit, scanRowsMax);
    const rows = await this.#store.range({
      from: registerRow(range.slice, range.from),
      to: registerRow(range.slice, range.to),
      limit: limit + 1,
    });
    return {
      ok: true,
      epoch: state.view.epoch,
      members: [...state.view.members],
      rows: rows.slice(0, limit).map((row) => {
        const key = keyOfRow(row.key);
        return range.want === "version"
          ? { key, version: versionOfRow(row.value) }
          : { key, ...decodeRow(row.value) };
      }),
      more: rows.length > limit,
    };
  }

  /** (key, version) of a slice's durable registers, in pages. */
  async versions(
    slice: Slice,
    after: string,
  ): Promise<{ rows: { key: string; version: Version }[]; more: boolean }> {
    const { rows, more } = await this.#rowsAfter(slice, after);
    return {
      rows: rows.map((row) => ({ key: keyOfRow(row.key), version: versionOfRow(row.value) })),
      more,
    };
  }

  /** A durable register; version "" when there is none. */
  read(slice: Slice, key: string, want: Want): StoredRegister {
    return this.#read(slice, key, want);
  }

  /**
   * Anti-entropy: takes what is newer and not below the promise (protocol.md section 2, SYNC). Never an ACK.
   * @returns keys whose newer version the promise forbids: only the leader can settle them.
   */
  async sync(slice: Slice, epoch: number, registers: readonly StoredRegister[]): Promise<string[]> {
    const state = this.#state(slice);
    if (!state.votes || state.view.epoch !== epoch) return [];
    const allowed = registers.filter(
      (register) =>
        this.#faults.syncIgnoresPromise === true || ballotOf(register.version) >= state.promised,
    );
    await this.#keep(slice, state, allowed, [], state.written);
    return registers
      .filter((register) => register.version > this.#read(slice, register.key, "version").version)
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
    return state.votes && (this.#faults.noPromiseEquality === true || state.promised === ballot);
  }

  #reason(state: SliceState, ballot: Ballot): "promised" | "epoch" {
    return state.votes && epochOf(ballot) === state.view.epoch ? "promised" : "epoch";
  }

  /** Adds the registers that are newer than ours to a batch, writes it, and waits until it is durable. */
  async #keep(
    slice: Slice,
    state: SliceState,
    registers: readonly StoredRegister[],
    writes: StoreWrite[],
    before: Promise<void>,
  ): Promise<void> {
    const added: [string, Version][] = [];
    for (const register of registers) {
      const row = registerRow(slice, register.key);
      const present = this.#pending.get(row) ?? versionOfRow(this.#store.get(row));
      if (register.version <= present) continue;
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
      return;
    }
    try {
      await this.#write(writes, [state]);
    } finally {
      for (const [row, version] of added) {
        if (this.#pending.get(row) === version) this.#pending.delete(row);
      }
    }
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
    const row = this.#store.get(registerRow(slice, key));
    if (!row) return { key, version: NO_VERSION };
    if (want === "version") return { key, version: versionOfRow(row) };
    const register = { key, ...decodeRow(row) };
    if (want === "value") return register;
    const body = this.#store.get(bodyRow(slice, key));
    return body ? { ...register, body } : register;
  }

  /** One page of a slice's register rows behind a key ("" for the start). */
  async #rowsAfter(slice: Slice, after: string): Promise<{ rows: Row[]; more: boolean }> {
    const from = after === "" ? registerRow(slice, "") : `${registerRow(slice, after)}\u0001`;
    const to = registerRowsEnd(slice);
    const rows = await this.#store.range({ from, to, limit: syncRowsMax + 1 });
    return { rows: rows.slice(0, syncRowsMax), more: rows.length > syncRowsMax };
  }

  async #allNames(slice: Slice): Promise<string[] | undefined> {
    const rows = await this.#store.range({
      from: registerRow(slice, ""),
      to: registerRowsEnd(slice),
      limit: electionKeysMax + 1,
    });
    return rows.length > electionKeysMax ? undefined : rows.map((row) => keyOfRow(row.key));
  }
}

function refuse(state: SliceState, reason: "promised" | "epoch"): Refusal {
  return { ok: false, reason, promised: state.promised, epoch: state.view.epoch };
}
