// The slices of one replica as it has them in memory, and the writes that change them on disk.
// Invariant: what a slice's state says is on disk, or about to be by a write under way, or marked as lost.
import { LRUCache } from "lru-cache";
import { type VoterId } from "../../shared/ids.ts";
import { versionListRowsMax } from "../../shared/limits.ts";
import { type VersionPage } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Store, type StoreWrite } from "../ports.ts";
import { isChainRow, isMetaRow } from "./rows.ts";
import { type SliceState, loadState, stateWrite } from "./slice-state.ts";
import { listVersions } from "./stored-registers.ts";
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
  readonly #viewOf: (slice: Slice) => View;
  readonly #slices = new Map<Slice, SliceState>();
  /** First pages of slices that did not change since: at a change of a view all members ask for the same one. */
  readonly #pages = new LRUCache<Slice, { readonly changes: number; readonly page: VersionPage }>({
    maxSize: versionListRowsMax,
    sizeCalculation: ({ page }) => page.rows.length + 1,
  });
  /** Pages that are being read: who asks meanwhile shares the reading. */
  readonly #reading = new Map<
    Slice,
    { readonly changes: number; readonly page: Promise<VersionPage> }
  >();

  constructor({ store, voter, viewOf }: SliceStatesOptions) {
    this.store = store;
    this.voter = voter;
    this.#viewOf = viewOf;
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
    const state = this.of(slice);
    // A write that is accepted and not durable has raised `changes` already, and the reading may miss it.
    if (after !== "" || state.writing > 0) return listVersions(this.store, slice, after);
    const { changes } = state;
    const known = this.#pages.get(slice);
    if (known?.changes === changes) return Promise.resolve(known.page);
    const running = this.#reading.get(slice);
    if (running?.changes === changes) return running.page;
    const page = listVersions(this.store, slice, "");
    this.#reading.set(slice, { changes, page });
    const end = (read?: VersionPage): void => {
      if (this.#reading.get(slice)?.page === page) this.#reading.delete(slice);
      if (read && state.changes === changes) this.#pages.set(slice, { changes, page: read });
    };
    page.then(end, () => end());
    return page;
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
    const ended = durable.then(done, done);
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
