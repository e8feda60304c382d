// A newcomer takes exactly what a majority of the view before holds.
import { beforeEach, describe, expect, test } from "vitest";
import { Replica } from "../../../node/index/replica.ts";
import { registerKey } from "../../../node/index/types.ts";
import { ViewJoiner } from "../../../node/index/view-joiner.ts";
import { ViewReplica } from "../../../node/index/view-replica.ts";
import { type ViewChange } from "../../../node/index/views.ts";
import { Peers } from "../../../node/peers.ts";
import { TransportError } from "../../../node/ports.ts";
import { pause } from "../../../node/waiting.ts";
import { silentLog } from "../../../node/runtime/json-log.ts";
import { MemoryDisk, openMemoryStore } from "../../../node/runtime/memory-store.ts";
import { type VoterId, nodeOfVoter } from "../../../shared/ids.ts";
import { precopiesMax, precopyKeptMs, sealHedgeMs, syncRowsMax } from "../../../shared/limits.ts";
import { type StoredRegister } from "../../../shared/protocol/index-calls.ts";
import { type Slice } from "../../../shared/slices.ts";
import { makeBallot, makeVersion } from "../../../shared/versions.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";
import { BUCKET } from "./index-cluster.ts";
import { A, B, C, D, E } from "./voters.ts";

const SLICE = 3 as Slice;
const first = { epoch: 1, members: [A, B, C] };
const change: ViewChange = { view: { epoch: 2, members: [C, D, E] }, previous: first };
const b1 = makeBallot(1, 1, A);
const key = (n: number) => registerKey("object", BUCKET, `key ${String(n).padStart(5, "0")}`);
const register = (n: number, sequence: number): StoredRegister => ({
  key: key(n),
  version: makeVersion(b1, sequence),
  value: `${n} in version ${sequence}`,
});

let clock: VirtualClock;
let replicas: Map<string, { replica: Replica; standings: ViewReplica }>;
let joiner: ViewJoiner;
/** Calls as "seal 1" and "fetch 2", by the digit of who was asked. */
let calls: string[];
/** Done before a call is carried out; what throws is no answer. */
let before: (call: string) => void | Promise<void>;

function open(voter: string) {
  const store = openMemoryStore(new MemoryDisk(), clock, { syncMs: 0 });
  const replica = new Replica({ store, voter: voter as typeof A & string, viewOf: () => first });
  const standings = new ViewReplica({ states: replica.states, onSealed: () => {} });
  replicas.set(voter, { replica, standings });
  return { replica, standings };
}

const at = (voter: string | undefined) => replicas.get(voter!)!;

beforeEach(() => {
  clock = new VirtualClock();
  replicas = new Map();
  calls = [];
  before = () => {};
  for (const voter of [A, B, C, D, E]) open(voter);
  joiner = joinerOf(D);
});

function joinerOf(voter: VoterId): ViewJoiner {
  const { replica, standings } = at(voter);
  const unused = (): never => {
    throw new Error("Not used here");
  };
  const call = async (peer: { address: string }, name: string, request: unknown) => {
    const short = `${name.slice("index.".length)} ${peer.address[0]!}`;
    calls.push(short);
    await before(short);
    const other = [...replicas].find(([each]) => nodeOfVoter(each as never) === peer.address)![1];
    const { slice, epoch, after, keys } = request as {
      slice: Slice;
      epoch: number;
      after: string;
      keys: string[];
    };
    if (name === "index.seal") return other.standings.seal(slice, change);
    if (name === "index.snapshot") return other.standings.snapshot(slice, epoch, after);
    return other.replica.fetch(slice, keys);
  };
  return new ViewJoiner({
    replica,
    standings,
    directory: { learn: () => false, viewOf: () => change.view },
    peers: new Peers({ call, open: unused, serve: unused, close: unused }),
    route: {
      voter,
      find: () => ({ state: "alive" }) as never,
      peer: (id) => ({ id, address: id }),
      observed: () => {},
    },
    clock,
    log: silentLog,
    onActive: () => {},
    onOutlived: () => {},
  });
}

const run = <T>(work: Promise<T>): Promise<T> =>
  clock.settle(work, { deadlineMs: clock.now + 60_000 });

/** Gives voters of the first view registers. */
async function hold(voters: readonly (string | undefined)[], registers: readonly StoredRegister[]) {
  for (const voter of voters) await run(at(voter).replica.accept(SLICE, b1, registers));
}

/** INSTALL at D, and time to become active. */
async function join(): Promise<void> {
  await run(at(D).standings.install(SLICE, change));
  await run(joiner.join(SLICE));
}

/** What D holds, key by key. */
async function held(): Promise<Record<string, string | undefined>> {
  const found: Record<string, string | undefined> = {};
  for (let after = ""; ;) {
    const { rows, more } = await run(at(D).replica.versions(SLICE, after));
    for (const row of rows) found[row.key] = at(D).replica.read(SLICE, row.key, "value").value;
    if (!more) return found;
    after = rows.at(-1)!.key;
  }
}

const valuesOf = (registers: readonly StoredRegister[]) =>
  Object.fromEntries(registers.map((each) => [each.key, each.value]));

const lose = (...lost: readonly string[]): void => {
  before = (call) => {
    if (lost.includes(call)) throw new TransportError("timeout", "No answer");
  };
};

describe("join", () => {
  test("takes the newest of each register that a majority holds", async () => {
    await hold([A, B, C], [register(1, 1), register(2, 2)]);
    await hold([A], [register(1, 3)]);
    await hold([B], [register(3, 4)]);
    lose("seal 3");
    await join();
    expect(at(D).replica.votesIn(SLICE)).toBe(true);
    expect(await held()).toEqual(valuesOf([register(1, 3), register(2, 2), register(3, 4)]));
  });

  // A bulk copy may hold what was never decided, and what was erased since.
  test("overwrites what is newer here and deletes what none of them names", async () => {
    await hold([A, B, C], [register(1, 1)]);
    await run(at(D).standings.put(SLICE, [register(1, 9), register(2, 9)]));
    await join();
    expect(await held()).toEqual(valuesOf([register(1, 1)]));
  });

  test("fetches nothing that the bulk copy brought already", async () => {
    await hold([A, B, C], [register(1, 1), register(2, 2)]);
    await run(at(D).standings.put(SLICE, [register(1, 1), register(2, 2)]));
    await join();
    expect(await held()).toEqual(valuesOf([register(1, 1), register(2, 2)]));
    expect(calls.filter((call) => call.startsWith("fetch"))).toEqual([]);
  });

  test("reads pages to the end, of what is there and of what is here", async () => {
    const many = Array.from({ length: 2 * syncRowsMax + 5 }, (_, n) => register(n, n + 1));
    await hold([A, B], many);
    const stale = Array.from({ length: syncRowsMax + 5 }, (_, n) => register(10_000 + n, 1));
    await run(at(D).standings.put(SLICE, stale));
    lose("seal 3");
    await join();
    expect(await held()).toEqual(valuesOf(many));
  });

  test("waits for a majority to be sealed, however long that takes", async () => {
    await hold([A, B, C], [register(1, 1)]);
    lose("seal 2", "seal 3");
    await run(at(D).standings.install(SLICE, change));
    void joiner.join(SLICE);
    await clock.runFor(30_000);
    expect(at(D).replica.votesIn(SLICE)).toBe(false);
    lose("seal 3");
    await clock.runFor(5_000);
    expect(at(D).replica.votesIn(SLICE)).toBe(true);
    expect(await held()).toEqual(valuesOf([register(1, 1)]));
  });

  const sealsAsked = (): string[] => calls.filter((call) => call.startsWith("seal"));

  test("seals as many as are needed, who stays first", async () => {
    await hold([A, B, C], [register(1, 1)]);
    await join();
    expect(sealsAsked()).toEqual(["seal 3", "seal 1"]);
  });

  test("seals others when one refuses, or takes long", async () => {
    await hold([A, B, C], [register(1, 1)]);
    before = (call) => (call === "seal 3" ? pause(clock, 400) : undefined);
    const begunMs = clock.now;
    await join();
    expect(clock.now - begunMs).toBeLessThan(2 * sealHedgeMs);
    expect(sealsAsked().slice(0, 3)).toEqual(["seal 3", "seal 1", "seal 2"]);
  });

  test("takes all from one member that was active in the new view", async () => {
    await hold([A, B, C], [register(1, 1)]);
    await run(at(E).standings.install(SLICE, change));
    await run(at(E).standings.put(SLICE, [register(1, 1)]));
    await run(at(E).standings.activate(SLICE, at(E).standings.standing(SLICE).joining!));
    lose("seal 1", "seal 2", "seal 3");
    await join();
    expect(at(D).replica.votesIn(SLICE)).toBe(true);
    expect(await held()).toEqual(valuesOf([register(1, 1)]));
  });

  test("a page that waited for its turn is not taken for what the source holds", async () => {
    const empty = { member: A, epoch: 1, page: { rows: [], more: false } };
    before = () => pause(clock, 100);
    const others = Array.from({ length: precopiesMax }, (_, i) =>
      joiner.precopy((SLICE + 1 + i) as Slice, { member: A, epoch: 1 }),
    );
    const copied = joiner.precopy(SLICE, empty);
    await hold([A], [register(1, 1)]);
    await run(Promise.all(others));
    expect(await run(copied)).toBe(true);
    expect(await held()).toEqual(valuesOf([register(1, 1)]));
  });

  // A and B said what they hold, then A gives its copy up. D begins again with those that are left.
  test("begins again when a source does not hold any more what it said", async () => {
    await hold([A, B, C], [register(1, 1)]);
    await hold([A], [register(2, 2)]);
    lose("seal 3");
    const normal = before;
    let retired = false;
    before = async (call) => {
      await normal(call);
      if (retired || !call.startsWith("fetch")) return;
      retired = true;
      await at(A).standings.retire(SLICE);
      await at(B).standings.put(SLICE, [register(2, 2)]);
      before = () => {};
    };
    await run(at(D).standings.install(SLICE, change));
    void joiner.join(SLICE);
    await clock.runFor(5_000);
    expect(retired).toBe(true);
    expect(at(D).replica.votesIn(SLICE)).toBe(true);
    expect(await held()).toEqual(valuesOf([register(1, 1), register(2, 2)]));
  });

  test("is one, however often it is asked for", async () => {
    await hold([A, B, C], [register(1, 1)]);
    await run(at(D).standings.install(SLICE, change));
    await run(Promise.all([joiner.join(SLICE), joiner.join(SLICE)]));
    await run(joiner.join(SLICE));
    expect(calls.filter((call) => call === "seal 1")).toHaveLength(1);
  });
});

describe("precopy", () => {
  test("copies what the source has and says when that is done", async () => {
    const some = [register(1, 1), register(2, 2)];
    await hold([A], some);
    expect(await run(joiner.precopy(SLICE, { member: A, epoch: 1 }))).toBe(true);
    expect(await held()).toEqual(valuesOf(some));
    expect(at(D).replica.votesIn(SLICE)).toBe(false);
  });

  test("looks again after many registers: more may have been written meanwhile", async () => {
    await hold(
      [A],
      Array.from({ length: 100 }, (_, n) => register(n, n + 1)),
    );
    let added = false;
    before = async (call) => {
      if (added || !call.startsWith("fetch")) return;
      added = true;
      await at(A).replica.accept(SLICE, b1, [register(500, 500)]);
    };
    expect(await run(joiner.precopy(SLICE, { member: A, epoch: 1 }))).toBe(true);
    expect((await held())[key(500)]).toBe(register(500, 500).value);
  });

  test("says that it is not done when the source does not answer, and begins again", async () => {
    await hold([A], [register(1, 1)]);
    lose("snapshot 1");
    expect(await run(joiner.precopy(SLICE, { member: A, epoch: 1 }))).toBe(false);
    before = () => {};
    expect(await run(joiner.precopy(SLICE, { member: A, epoch: 1 }))).toBe(true);
  });

  test("does nothing once the change is under way, which brings all", async () => {
    await hold([A], [register(1, 1)]);
    await run(at(D).standings.install(SLICE, change));
    expect(await run(joiner.precopy(SLICE, { member: A, epoch: 1 }))).toBe(true);
    expect(calls).toEqual([]);
  });

  test("of a change that never came is deleted after a while, one in use is not", async () => {
    await hold([A], [register(1, 1)]);
    await run(joiner.precopy(SLICE, { member: A, epoch: 1 }));
    await clock.runFor(precopyKeptMs / 2);
    await run(joiner.precopy(SLICE, { member: A, epoch: 1 }));
    await clock.runFor(precopyKeptMs / 2);
    joiner.forgetUnused();
    await clock.runFor(100);
    expect(await held()).toEqual(valuesOf([register(1, 1)]));
    await clock.runFor(precopyKeptMs);
    joiner.forgetUnused();
    await clock.runFor(100);
    expect(await held()).toEqual({});
  });
});
