// Who is told of a change of a view, and when: members until they are active, those who left until they have heard.
import { beforeEach, describe, expect, test } from "vitest";
import { Replica } from "../../../node/index/replica.ts";
import { type ViewDirectory } from "../../../node/index/view-directory.ts";
import { type ViewJoiner } from "../../../node/index/view-joiner.ts";
import { ViewReplica } from "../../../node/index/view-replica.ts";
import { ViewSettler } from "../../../node/index/view-settler.ts";
import { type KnownView, type ViewChange } from "../../../node/index/views.ts";
import { Peers } from "../../../node/peers.ts";
import { TransportError } from "../../../node/ports.ts";
import { silentLog } from "../../../node/runtime/json-log.ts";
import { MemoryDisk, openMemoryStore } from "../../../node/runtime/memory-store.ts";
import { type Member, type MemberState } from "../../../node/route/types.ts";
import { RingstowError } from "../../../shared/errors.ts";
import { type NodeId, type VoterId, nodeOfVoter } from "../../../shared/ids.ts";
import { installHedgeMs, settleBackupMs } from "../../../shared/limits.ts";
import { type Slice } from "../../../shared/slices.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";
import { A, B, C, D } from "./voters.ts";

const SLICE = 3 as Slice;
const first = { epoch: 1, members: [A, B, C] };
/** C leaves, D comes. */
const change: ViewChange = { view: { epoch: 2, members: [A, B, D] }, previous: first };

let clock: VirtualClock;
let standings: ViewReplica;
let settler: ViewSettler;
/** INSTALLs as "4", and "3 settled". */
let told: string[];
let silent: Set<string>;
let inactive: Set<string>;
let states: Map<NodeId, MemberState>;
/** How often this folder tried to give its copy up, and how many of those tries the disk refuses. */
let retireTries: number;
let refusedRetires: number;
/** The disk refuses what INSTALL writes. */
let refusesInstall: boolean;

/** The settler of A's node. A becomes active as soon as it is told. */
beforeEach(() => {
  clock = new VirtualClock();
  told = [];
  silent = new Set();
  inactive = new Set();
  states = new Map();
  retireTries = refusedRetires = 0;
  refusesInstall = false;
  open(A);
});

function open(voter: VoterId): void {
  const store = openMemoryStore(new MemoryDisk(), clock, { syncMs: 0 });
  const replica = new Replica({ store, voter, viewOf: () => first });
  standings = new ViewReplica({ states: replica.states, onSealed: () => {} });
  let known: KnownView = first;
  const directory = {
    learn: (_slice: Slice, view: KnownView) => {
      if (view.epoch > known.epoch) known = view;
      return true;
    },
    viewOf: () => known,
    search: async () => {},
  };
  const joiner = {
    join: async (slice: Slice) => {
      const { joining } = standings.standing(slice);
      if (joining && !inactive.has("1")) await standings.activate(slice, joining);
    },
    retire: async (slice: Slice) => {
      retireTries++;
      if (retireTries <= refusedRetires) return false;
      await standings.retire(slice);
      return true;
    },
  };
  const unused = (): never => {
    throw new Error("Not used here");
  };
  const call = async (
    peer: { address: string },
    _name: string,
    request: unknown,
  ): Promise<unknown> => {
    const digit = peer.address[0]!;
    const { settled, change: asked } = request as { settled: boolean; change: ViewChange };
    told.push(settled ? `${digit} settled` : digit);
    if (silent.has(digit)) throw new TransportError("timeout", "No answer");
    return { epoch: asked.view.epoch, active: !inactive.has(digit) };
  };
  const { install } = standings;
  standings.install = async (...of) => {
    const installing = install.apply(standings, of);
    if (refusesInstall) throw new RingstowError("DiskFull", "No space is left");
    return installing;
  };
  settler = new ViewSettler({
    standings,
    directory: directory as unknown as ViewDirectory,
    joiner: joiner as unknown as ViewJoiner,
    peers: new Peers({ call, open: unused, serve: unused, close: unused }),
    route: {
      voter,
      find: (id) => ({ id, state: states.get(id) ?? "alive" }) as Member,
      peer: (id) => ({ id, address: id }),
      observed: () => {},
    },
    clock,
    log: silentLog,
  });
}

const nodeC = nodeOfVoter(C);
const countOf = (what: string): number => told.filter((one) => one === what).length;

describe("settle", () => {
  test("tells each member once, and who left once that it is settled", async () => {
    await clock.settle(settler.settle(SLICE, change), { deadlineMs: clock.now + 1_000 });
    await clock.runFor(60_000);
    expect(told.toSorted()).toEqual(["2", "3 settled", "4"]);
    expect(settler.count).toBe(0);
  });

  test("tells those first with whom the view can begin, and the others then, or after a while", async () => {
    await clock.settle(settler.settle(SLICE, change), { deadlineMs: clock.now + 1_000 });
    expect(told[0]).toBe("2");
    await clock.runFor(1_000);
    expect(told).toEqual(["2", "4", "3 settled"]);
    for (const missing of [silent, inactive]) {
      clock = new VirtualClock();
      open(A);
      told = [];
      missing.add("2");
      const begun = settler.settle(SLICE, change);
      await clock.settle(begun, { deadlineMs: installHedgeMs + 1 });
      expect(told).toEqual(["2", "4"]);
      missing.clear();
    }
  });

  test("a dead member is none of those told first", async () => {
    states.set(nodeOfVoter(B), "dead");
    silent.add("2");
    await clock.settle(settler.settle(SLICE, change), { deadlineMs: 1 });
    expect(told[0]).toBe("4");
  });

  test("tells who left while a member keeps it waiting, and again at the end", async () => {
    inactive.add("4");
    void settler.settle(SLICE, change);
    await clock.runFor(20_000);
    expect(countOf("3")).toBeGreaterThan(1);
    expect(countOf("3 settled")).toBe(0);
    inactive.clear();
    await clock.runFor(20_000);
    expect(countOf("3 settled")).toBe(1);
  });

  test("tells who left until it has heard", async () => {
    silent.add("3");
    void settler.settle(SLICE, change);
    await clock.runFor(20_000);
    const before = countOf("3 settled");
    expect(before).toBeGreaterThan(2);
    silent.clear();
    await clock.runFor(20_000);
    expect(countOf("3 settled")).toBe(before + 1);
    expect(settler.count).toBe(0);
  });

  test("tells who left and was not there when it is back, once", async () => {
    silent.add("3");
    states.set(nodeC, "dead");
    void settler.settle(SLICE, change);
    await clock.runFor(20_000);
    expect(settler.count).toBe(0);
    expect(countOf("3 settled")).toBe(1); // in vain
    told.length = 0;
    silent.clear();
    states.set(nodeC, "alive");
    settler.returned(nodeC);
    settler.returned(nodeC);
    await clock.runFor(20_000);
    expect(countOf("3 settled")).toBe(1);
  });

  test("tells who left although a later change takes its place", async () => {
    inactive.add("4");
    void settler.settle(SLICE, change);
    await clock.runFor(10);
    const later: ViewChange = {
      view: { epoch: 3, members: [A, B] },
      previous: change.view,
    };
    void settler.settle(SLICE, later);
    told.length = 0;
    await clock.runFor(20_000);
    expect(countOf("3")).toBe(1); // its copy may still be needed: it is not told that all is settled
    expect(countOf("4 settled")).toBeGreaterThan(0);
    expect(settler.count).toBe(0);
  });

  test("that others were to see to begins at once when this node has to", async () => {
    void settler.settle(SLICE, change, settleBackupMs);
    await clock.runFor(settleBackupMs / 10);
    expect(told).toEqual([]);
    void settler.settle(SLICE, change);
    await clock.runFor(settleBackupMs / 10);
    expect(told.length).toBeGreaterThan(0);
    await clock.runFor(20_000);
    expect(settler.count).toBe(0);
  });

  // Who decided it may be gone, and those who left were not needed for the seals: nobody else would tell them.
  test("of a change that another node decided: the first that stays tells who left, after a while", async () => {
    await clock.settle(settler.install(SLICE, change), { deadlineMs: clock.now + 1_000 });
    void settler.settle(SLICE, change, settleBackupMs);
    await clock.runFor(settleBackupMs / 2);
    expect(told).toEqual([]);
    await clock.runFor(settleBackupMs);
    expect(told).toEqual(["3"]);
    expect(settler.count).toBe(0);
  });
});

// Seed 30000483: who told it had found it dead by then, and was content with the others.
test("who is to join does so although its disk refused that at first", async () => {
  refusesInstall = true;
  const installing = settler.install(SLICE, change).catch((error: unknown) => error);
  const failed = await clock.settle(installing, { deadlineMs: clock.now + 1_000 });
  expect(failed).toBeInstanceOf(RingstowError);
  refusesInstall = false;
  await clock.runFor(60_000);
  expect(standings.standing(SLICE)).toMatchObject({ mode: "active", view: change.view });
  expect(settler.count).toBe(0);
});

describe("who left", () => {
  const settle = (): Promise<unknown> =>
    settler.install(SLICE, change, true).catch((error: unknown) => error);

  test("gives its copy up once the disk lets it", async () => {
    open(C);
    refusedRetires = 2;
    await clock.settle(standings.seal(SLICE, change), { deadlineMs: clock.now + 1_000 });
    await clock.settle(settle(), { deadlineMs: clock.now + 1_000 });
    await clock.runFor(60_000);
    expect(retireTries).toBe(3);
    expect(standings.standing(SLICE).mode).toBe("none");
  });

  // Seed 30005768: who told it was gone by then, and a sealed folder takes no copy of a later view.
  test("sees to it by itself when the disk refused what it was told", async () => {
    open(C);
    await clock.settle(standings.seal(SLICE, change), { deadlineMs: clock.now + 1_000 });
    void settler.settle(SLICE, change, settleBackupMs);
    refusesInstall = true;
    await clock.settle(settle(), { deadlineMs: clock.now + 1_000 });
    refusesInstall = false;
    await clock.runFor(60_000);
    expect(standings.standing(SLICE).mode).toBe("none");
    expect(settler.count).toBe(0);
  });
});
