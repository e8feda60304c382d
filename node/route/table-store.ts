// The member table's snapshot on disk, so that a restarted node knows who joined after genesis. Only what a restart
// needs is written: not suspicion, not free bytes. Losing the last second costs nothing but gossip.
import { snapshotMs, tableRowsMax } from "../../shared/limits.ts";
import { type NodeId } from "../../shared/ids.ts";
import { memberRowSchema } from "../../shared/protocol/route.ts";
import { type Clock, type Log, type Store, type Timer } from "../ports.ts";
import { type MemberRow } from "./member-table.ts";

const PREFIX = "t/";
const PREFIX_END = "t0";

/** Rows of the last snapshot; damaged ones are left out, gossip brings them back. */
export async function loadTable(store: Store, log: Log): Promise<MemberRow[]> {
  const stored = await store.range({ from: PREFIX, to: PREFIX_END, limit: tableRowsMax });
  const decoder = new TextDecoder();
  const rows: MemberRow[] = [];
  for (const { key, value } of stored) {
    const row = parseRow(decoder.decode(value));
    if (row) rows.push(row);
    else log.warn("Stored member row is damaged", { key });
  }
  return rows;
}

function parseRow(text: string): MemberRow | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = memberRowSchema.safeParse(json);
  if (!parsed.success) return undefined;
  return { ...parsed.data, position: parsed.data.position };
}

/** Writes changed rows, many in one batch. */
export class TableStore {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #find: (id: NodeId) => MemberRow | undefined;
  readonly #dirty = new Set<NodeId>();
  #timer: Timer | undefined;
  #stopped = false;

  constructor(deps: {
    store: Store;
    clock: Clock;
    log: Log;
    find: (id: NodeId) => MemberRow | undefined;
  }) {
    this.#store = deps.store;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#find = deps.find;
  }

  /** The row of `id` changed or is gone. */
  touch(id: NodeId): void {
    this.#dirty.add(id);
    if (!this.#stopped) this.#timer ??= this.#clock.after(snapshotMs, () => void this.#flush());
  }

  /** Writes what waits; resolves when it is on disk, or the disk refused. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#flush();
  }

  async #flush(): Promise<void> {
    this.#timer = undefined;
    if (this.#dirty.size === 0) return;
    const ids = [...this.#dirty];
    this.#dirty.clear();
    const encoder = new TextEncoder();
    const writes = ids.map((id) => {
      const row = this.#find(id);
      return { key: PREFIX + id, value: row && encoder.encode(JSON.stringify(row)) };
    });
    try {
      await this.#store.write(writes);
    } catch (error) {
      this.#log.warn("Cannot write the member table", { error });
      if (!this.#stopped) for (const id of ids) this.touch(id);
    }
  }
}
