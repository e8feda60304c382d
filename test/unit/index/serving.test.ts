// What a folder does for a leader that hands over to the next view: it gives up its vote and serves that one still, and
// what it took from it counts in the next view, whenever the process ends.
import { beforeEach, describe, expect, test } from "vitest";
import { Replica } from "../../../node/index/replica.ts";
import { registerKey, viewKey } from "../../../node/index/types.ts";
import { ViewReplica } from "../../../node/index/view-replica.ts";
import { type ViewChange } from "../../../node/index/views.ts";
import { type VoterId, nodeOfVoter } from "../../../shared/ids.ts";
import { type Slice } from "../../../shared/slices.ts";
import { type Ballot, makeBallot, makeVersion } from "../../../shared/versions.ts";
import { HeldStore } from "./held-store.ts";
import { BUCKET } from "./index-cluster.ts";
import { A, B, C, D, E, F } from "./voters.ts";

const SLICE = 3 as Slice;
const first = { epoch: 1, members: [A, B, C] };
const second = { epoch: 2, members: [D, A, E] };
const third = { epoch: 3, members: [D, E, F] };
const toSecond: ViewChange = { view: second, previous: first };
const toThird: ViewChange = { view: third, previous: second };
const [key, other] = ["name", "other"].map((name) => registerKey("object", BUCKET, name)) as [
  ReturnType<typeof registerKey>,
  ReturnType<typeof registerKey>,
];
/** Of the leader that hands over, of one elected after it, and of the one that the next view begins with. */
const leader = makeBallot(1, 1, B);
const rival = makeBallot(1, 2, C);
const next = makeBallot(2, 1, D);
const write = (n: number, ballot: Ballot = leader, at = key) => ({
  key: at,
  version: makeVersion(ballot, n),
  value: `v${n}`,
});

let store: HeldStore;
let replica: Replica;
let standings: ViewReplica;
/** Who is served after each seal; undefined: nobody. */
let sealed: (Ballot | undefined)[];
/** Each time the leader was served no more, whether somebody ends the change another way. */
let served: boolean[];

/** The folder of a voter on a disk. */
function open(voter: VoterId, on = store): void {
  store = on;
  replica = new Replica({ store, voter, viewOf: () => first });
  const { states } = replica;
  sealed = [];
  served = [];
  standings = new ViewReplica({
    states,
    onSealed: (_slice, _change, serving) => void sealed.push(serving),
    onDismissed: (_slice, told) => void served.push(told),
  });
}

beforeEach(() => {
  store = new HeldStore();
  open(A);
});

/** Runs work, syncing the disk until it ends. */
const durably = <T>(work: Promise<T>): Promise<T> => store.durably(work);

const accept = (n: number, ballot = leader, at = key) =>
  durably(replica.accept(SLICE, ballot, [write(n, ballot, at)]));
const enter = () => durably(standings.enter(SLICE, toSecond, leader));
const activate = (gone: readonly string[] = []): Promise<boolean> =>
  durably(standings.activate(SLICE, standings.standing(SLICE).joining!, gone));

describe("who enters the next view", () => {
  test("of the members votes no more, durably, and serves the leader that it promised", async () => {
    await accept(1);
    expect(await enter()).toBe(true);
    expect(sealed).toEqual([leader]);
    expect(replica.votesIn(SLICE)).toBe(false);
    expect(replica.mayLead(SLICE, leader)).toBe(true);
    expect(replica.readFast(SLICE, key, "value")).toMatchObject({ ok: false, reason: "epoch" });
    expect(await accept(2)).toEqual({ ok: true });
    expect(replica.confirm(SLICE, leader)).toEqual({ ok: true });
    expect(await replica.readReg(SLICE, leader, [key])).toMatchObject({ ok: true });
    expect(await replica.names(SLICE, leader, "")).toMatchObject({ ok: true, keys: [key] });
    open(A, store.crash());
    expect(standings.standing(SLICE)).toMatchObject({ mode: "sealed", joining: toSecond });
    expect(await accept(3)).toMatchObject({ ok: false, reason: "epoch" });
    expect(replica.read(SLICE, key, "value").value).toBe("v2");
  });

  test("serves nobody else, and not one whom it has promised to pass over", async () => {
    await accept(1);
    await accept(2, rival);
    expect(await enter()).toBe(false);
    expect(replica.votesIn(SLICE)).toBe(true);
    expect(await durably(standings.enter(SLICE, toSecond, rival))).toBe(true);
    expect(await accept(3)).toMatchObject({ ok: false });
    expect(replica.confirm(SLICE, leader)).toMatchObject({ ok: false });
  });

  test("as a newcomer serves it from then on, with what it takes on disk", async () => {
    open(D);
    expect(await accept(1)).toMatchObject({ ok: false, reason: "epoch" });
    expect(await enter()).toBe(true);
    expect(sealed).toEqual([]);
    expect(await accept(2)).toEqual({ ok: true });
    open(D, store.crash());
    expect(replica.read(SLICE, key, "value").value).toBe("v2");
    expect(standings.standing(SLICE)).toMatchObject({ mode: "none", joining: toSecond });
  });

  test("says the same when it is asked again, until it serves no more", async () => {
    await accept(1);
    expect(await enter()).toBe(true);
    expect(await enter()).toBe(true);
    standings.dismiss(SLICE, rival);
    expect(await enter()).toBe(true);
    standings.dismiss(SLICE, leader);
    expect(await enter()).toBe(false);
    expect(served).toEqual([false]);
  });

  test("is none who is not of it, is further, or was not active before", async () => {
    open(F);
    expect(await enter()).toBe(false);
    open(D);
    await durably(standings.install(SLICE, toThird));
    expect(await enter()).toBe(false);
    open(A, new HeldStore());
    await durably(standings.seal(SLICE, toSecond));
    expect(await enter()).toBe(false);
  });
});

describe("serving ends", () => {
  beforeEach(async () => {
    await accept(1);
    await enter();
    await activate();
  });

  test("not when the folder becomes active", async () => {
    expect(replica.viewOf(SLICE)).toEqual(second);
    expect(replica.promised(SLICE)).toBe(next);
    expect(await accept(2)).toEqual({ ok: true });
    expect(replica.promised(SLICE)).toBe(next);
    expect(replica.inherits(SLICE)).toBe(true);
  });

  test("and until then nobody may do without the leader's word", async () => {
    const range = { slice: SLICE, from: "", to: "~", limit: 10, want: "version" } as const;
    expect(replica.readFast(SLICE, key, "value")).toMatchObject({ ok: false });
    expect(await replica.scan(range)).toMatchObject({ ok: false });
    standings.led(SLICE, toSecond);
    expect(replica.readFast(SLICE, key, "value")).toMatchObject({ ok: true, epoch: 2 });
    expect(await replica.scan(range)).toMatchObject({ ok: true, epoch: 2 });
    expect(replica.inherits(SLICE)).toBe(false);
  });

  test("when the leader's node is gone, for its slices alone", () => {
    standings.dismissOf(nodeOfVoter(C));
    expect(replica.serving(SLICE)).toBe(leader);
    standings.dismissOf(nodeOfVoter(B));
    expect(replica.serving(SLICE)).toBeUndefined();
    expect(served).toEqual([false]);
  });

  const QUESTIONS: Record<string, () => Promise<unknown>> = {
    PREPARE: () => durably(replica.prepare([{ slice: SLICE, ballot: makeBallot(2, 2, E) }])),
    "PREPARE of the ballot that came with the view": () =>
      durably(replica.prepare([{ slice: SLICE, ballot: next }])),
    ACCEPT: () => durably(replica.accept(SLICE, next, [write(1, next, other)])),
    CONFIRM: async () => replica.confirm(SLICE, next),
    READREG: () => durably(replica.readReg(SLICE, next, [key])),
    names: () => durably(replica.names(SLICE, next, "")),
    "the promise that is told": () => durably(replica.inheritedPromise(SLICE, next)),
    "an election": async () => replica.spendInherited(SLICE),
    INSTALL: () => durably(standings.install(SLICE, toSecond)),
    SEAL: () => durably(standings.seal(SLICE, toSecond)),
  };

  test.each(Object.keys(QUESTIONS))("with %s in the next view", async (name) => {
    await QUESTIONS[name]!();
    expect(served).toEqual(name === "INSTALL" || name === "SEAL" ? [true] : []);
    expect(await accept(2)).toMatchObject({ ok: false });
    expect(replica.confirm(SLICE, leader)).toMatchObject({ ok: false });
    expect(replica.mayLead(SLICE, leader)).toBe(false);
  });

  test("not with what comes late of an earlier change", async () => {
    await durably(replica.prepare([{ slice: SLICE, ballot: makeBallot(2, 2, E) }]));
    const toAnother = { view: { epoch: 3, members: [A, E, D] }, previous: second };
    expect(await durably(standings.enter(SLICE, toAnother, makeBallot(2, 2, E)))).toBe(true);
    await durably(standings.install(SLICE, toSecond));
    await durably(standings.seal(SLICE, toSecond));
    expect(replica.serving(SLICE)).toBe(makeBallot(2, 2, E));
    await durably(standings.seal(SLICE, toAnother));
    expect(replica.serving(SLICE)).toBeUndefined();
  });

  test("not with a question that is refused, nor with a SEAL that names the leader", async () => {
    await durably(replica.prepare([{ slice: SLICE, ballot: rival }]));
    expect(replica.confirm(SLICE, rival)).toMatchObject({ ok: false });
    await durably(standings.seal(SLICE, toSecond, leader));
    expect(await accept(2)).toEqual({ ok: true });
  });

  test.each(["PREPARE of the ballot that came with the view", "the promise that is told"])(
    "and %s names what was accepted before, though it was not durable yet",
    async (name) => {
      const accepting = replica.accept(SLICE, leader, [write(2, leader, other)]);
      const told = await QUESTIONS[name]!();
      expect(JSON.stringify(told)).toContain(JSON.stringify(other).slice(1, -1));
      expect(await accepting).toEqual({ ok: true });
    },
  );
});

describe("what was taken from the leader", () => {
  beforeEach(async () => {
    open(D);
    await enter();
  });

  test("is not deleted, durable or not, nor replaced by what is older", async () => {
    await accept(1);
    const accepting = replica.accept(SLICE, leader, [write(2, leader, other)]);
    const older = makeBallot(1, 0, A);
    const putting = standings.put(SLICE, [write(9, older), write(9, older, other)]);
    const activating = standings.activate(SLICE, toSecond, [key, other]);
    await durably(Promise.all([accepting, putting, activating]));
    expect(replica.read(SLICE, key, "value").value).toBe("v1");
    expect(replica.read(SLICE, other, "value").value).toBe("v2");
  });

  test("late is not taken, when something newer was copied just before", async () => {
    const putting = standings.put(SLICE, [write(9)]);
    const accepting = replica.accept(SLICE, leader, [write(8)]);
    await durably(Promise.all([putting, accepting]));
    expect(replica.read(SLICE, key, "value").value).toBe("v9");
  });

  test("is replaced by what is newer, and what others left is deleted", async () => {
    await accept(1);
    await durably(standings.put(SLICE, [write(3), write(7, makeBallot(1, 0, A), other)]));
    await activate([other]);
    expect(replica.read(SLICE, key, "value").value).toBe("v3");
    expect(replica.read(SLICE, other, "value").value).toBeUndefined();
  });

  test("counts after a restart too, and no decision on a view comes along", async () => {
    open(A, new HeldStore());
    await accept(2, leader, viewKey(1));
    await enter();
    await accept(1);
    open(A, store.crash());
    await activate([key, viewKey(1)]);
    expect(replica.read(SLICE, key, "value").value).toBe("v1");
    expect(replica.read(SLICE, viewKey(1), "value").value).toBeUndefined();
  });

  test("keeps the folder from standing aside for a later view, until that is settled", async () => {
    await accept(1);
    expect(await durably(standings.seal(SLICE, toThird))).toMatchObject({ ok: false });
    expect(await durably(standings.leaveJoin(SLICE, toSecond, false))).toBe(false);
    expect(await durably(standings.install(SLICE, toThird))).toBe(true);
    expect(standings.standing(SLICE).joining).toEqual(toSecond);
    await activate();
    expect(await durably(standings.seal(SLICE, toThird))).toMatchObject({ state: "sealed" });
    expect(replica.read(SLICE, key, "value").value).toBe("v1");
  });

  test("is of no value once others are active in a later view, but was a part in decisions still", async () => {
    await accept(1);
    expect(await durably(standings.leaveJoin(SLICE, toSecond, true))).toBe(true);
    open(D, store.crash());
    expect(await durably(standings.seal(SLICE, toThird))).toMatchObject({ ok: false });
    expect(await durably(standings.install(SLICE, toThird))).toBe(true);
    expect(await durably(standings.seal(SLICE, toThird))).toMatchObject({ ok: false });
    expect(standings.standing(SLICE).joining).toEqual(toThird);
    await activate();
    expect(await durably(standings.seal(SLICE, toThird))).toMatchObject({ state: "joined" });
  });

  test("of a decision on the view itself is nothing", async () => {
    await accept(1, leader, viewKey(1));
    expect(replica.read(SLICE, viewKey(1), "value").value).toBeUndefined();
  });

  test("is of no value once a view after the next one was decided, or the next one is settled without it", async () => {
    const fourth = { epoch: 4, members: [A, B, C] };
    await durably(standings.install(SLICE, { view: fourth, previous: third }));
    expect(standings.standing(SLICE)).toMatchObject({ joining: undefined });
    open(A, new HeldStore());
    await accept(1);
    await enter();
    await durably(standings.install(SLICE, toThird, true));
    expect(standings.standing(SLICE)).toMatchObject({ joining: undefined });
  });
});
