// The slices of one replica as it has them in memory, and the writes that change them on disk.
// Invariant: what a slice's state says is on disk, or about to be by a write under way, or marked as lost.
import { type VoterId } from "../../shared/ids.ts";
import { type VersionPage } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Version } from "../../shared/versions.ts";
import { type Store, type StoreWrite } from "../ports.ts";
import { isChainRow, isMetaRow, registerRow, versionOfRow } from "./rows.ts";
import { type SliceState, loadState, stateWrite } from "./slice-state.ts";
import { listVersions } from "./stored-registers.ts";
import { VersionPages } from "./version-pages.ts";
import { type View } from "./views.ts";

export interface SliceStatesOptions {
  readonly store: Store;
  readonly voter: VoterId;
  /** The views of epoch 1. */
  readonly viewOf: (slice: Slice) => View;
}

export class SliceStates {
  readonly store: Store;
  readonly voter: VoterId;
  /** Versions accepted and not yet durable, by register row. */
  readonly #pending = new Map<string, Version>();
  readonly #viewOf: (slice: Slice) => View;
  readonly #slices = new Map<Slice, SliceState>();
  readonly #pages: VersionPages;

  constructor({ store, voter, viewOf }: SliceStatesOptions) {
    this.store = store;
    this.voter = voter;
    this.#viewOf = viewOf;
    this.#pages = new VersionPages(store);
  }

  of(slice: Slice): SliceState {
    let state = this.#slices.get(slice);
    if (!state) {
      state = loadState(this.store, slice, this.voter, this.#viewOf(slice));
      this.#slices.set(slice, state);
    }
    return state;
  }

  /** (key, version) of a slice's durable registers, in pages. */
  versions(slice: Slice, after: string): Promise<VersionPage> {
    if (after !== "") return listVersions(this.store, slice, after);
    return this.#pages.first(slice, this.of(slice));
  }

  /** The slices that were asked for since the start. */
  known(): Iterable<[Slice, SliceState]> {
    return this.#slices;
  }

  /** Runs a write that gives register rows these versions, and has `latest` tell them from now on. */
  async writeVersions<T>(
    versions: readonly (readonly [string, Version])[],
    write: () => Promise<T>,
  ): Promise<T> {
    for (const [row, version] of versions) this.#pending.set(row, version);
    try {
      return await write();
    } finally {
      for (const [row, version] of versions)
        if (this.#pending.get(row) === version) this.#pending.delete(row);
    }
  }

  /** The version of a register, durable or about to be. */
  latest(slice: Slice, key: string): Version {
    const row = registerRow(slice, key);
    return this.#pending.get(row) ?? versionOfRow(this.store.get(row));
  }

  /** The first page of them, if it is in memory. */
  knownVersions(slice: Slice): VersionPage | undefined {
    return this.#pages.known(slice);
  }

  /** Writes a batch that holds the promises of `promising`, and perhaps registers of the slices `states`. */
  async writePromises(
    writes: readonly StoreWrite[],
    promising: readonly SliceState[],
    states: readonly SliceState[] = promising,
  ): Promise<void> {
    const promised = promising.map((state) => state.promised);
    try {
      await this.write(writes, states);
    } catch (error) {
      for (const state of promising) state.promiseLost = true;
      throw error;
    }
    promising.forEach((state, i) => {
      if (state.promised === promised[i]) state.promiseLost = false;
    });
  }

  /** Writes a batch with registers of these slices; resolves when it is durable. */
  write(writes: readonly StoreWrite[], states: readonly SliceState[]): Promise<void> {
    if (writes.length === 0) return Promise.resolve();
    const durable = this.store.write(writes);
    const registers = !writes.every(({ key }) => isMetaRow(key));
    const chains = registers && writes.some(({ key }) => isChainRow(key));
    const done = (): void => {
      for (const state of states) state.writing--;
    };
    // Before anybody hears of it: the pages say what is durable.
    const ended = durable.then(
      () => {
        if (registers) this.#pages.written(writes);
        done();
      },
      () => {
        if (registers) this.#pages.refused(writes);
        done();
      },
    );
    for (const state of states) {
      if (registers) state.changes++;
      if (chains) state.chainChanges++;
      state.writing++;
      // The store ends batches in the order of the calls, so the newest one is the last to end.
      state.written = ended;
    }
    return durable;
  }

  /** Makes the row of a slice say what its state says. */
  async save(slice: Slice, state: SliceState): Promise<void> {
    await this.writePromises([stateWrite(slice, state)], [state]);
  }

  /** Waits until the row says durably what the state says. */
  async assure(slice: Slice, state: SliceState): Promise<void> {
    await state.written;
    if (state.promiseLost) await this.save(slice, state);
  }
}
