// What a folder does in a change of views, rule by rule, and what its disk must hold before each answer.
import { beforeEach, describe, expect, test } from "vitest";
import { Replica } from "../../../node/index/replica.ts";
import { bodyRow, registerRow } from "../../../node/index/rows.ts";
import { registerKey } from "../../../node/index/types.ts";
import { ViewReplica } from "../../../node/index/view-replica.ts";
import { type ViewChange } from "../../../node/index/views.ts";
import { type Slice } from "../../../shared/slices.ts";
import { makeBallot, makeVersion } from "../../../shared/versions.ts";
import { HeldStore, turn } from "./held-store.ts";
import { BUCKET } from "./index-cluster.ts";
import { A, B, C, D, E, F } from "./voters.ts";

const SLICE = 3 as Slice;
const first = { epoch: 1, members: [A, B, C] };
const second = { epoch: 2, members: [A, D, E] };
const third = { epoch: 3, members: [D, E, F] };
const toSecond: ViewChange = { view: second, previous: first };
const toThird: ViewChange = { view: third, previous: second };
const key = registerKey("object", BUCKET, "name");
const b1 = makeBallot(1, 1, A);
const write = (n: number, ballot = b1) => ({
  key,
  version: makeVersion(ballot, n),
  value: `v${n}`,
});

let store: HeldStore;
let replica: Replica;
let standings: ViewReplica;
let sealed: number[];

/** The folder of a voter on a disk. */
function open(voter = A, on = store): void {
  store = on;
  replica = new Replica({ store, voter, viewOf: () => first });
  const { states } = replica;
  sealed = [];
  const onSealed = (_slice: Slice, change: ViewChange): void => void sealed.push(change.view.epoch);
  standings = new ViewReplica({ states, onSealed });
}

/** Power off and on. */
const restart = (voter = A): void => open(voter, store.crash());

beforeEach(() => {
  store = new HeldStore();
  open();
});

/** Runs work, syncing the disk until it ends. */
const durably = <T>(work: Promise<T>): Promise<T> => store.durably(work);

/** Whether work has ended without another sync. */
async function endedBefore(work: Promise<unknown>): Promise<boolean> {
  let ended = false;
  work.then(
    () => void (ended = true),
    () => void (ended = true),
  );
  await turn();
  return ended;
}

const seal = (change: ViewChange) => durably(standings.seal(SLICE, change));
const install = (change: ViewChange) => durably(standings.install(SLICE, change));

/** Joins the view that was installed. */
const activate = (): Promise<boolean> =>
  durably(standings.activate(SLICE, standings.standing(SLICE).joining!));

describe("SEAL", () => {
  test("ends the vote at once, and is answered when that is durable", async () => {
    await durably(replica.accept(SLICE, b1, [write(1)]));
    const sealing = standings.seal(SLICE, toSecond);
    expect(replica.votesIn(SLICE)).toBe(false);
    expect(sealed).toEqual([2]);
    expect(await endedBefore(sealing)).toBe(false);
    await store.sync();
    expect(await sealing).toEqual({
      ok: true,
      state: "sealed",
      page: { rows: [{ key, version: write(1).version }], more: false },
    });
    restart();
    expect(replica.votesIn(SLICE)).toBe(false);
    expect(standings.standing(SLICE)).toMatchObject({ mode: "sealed", forward: toSecond });
    expect(replica.read(SLICE, key, "value").value).toBe("v1");
  });

  test("is not answered before writes that were accepted earlier are durable", async () => {
    const accepting = replica.accept(SLICE, b1, [write(1)]);
    const sealing = standings.seal(SLICE, toSecond);
    await store.sync(1);
    expect(await accepting).toEqual({ ok: true });
    expect(await endedBefore(sealing)).toBe(false);
    await durably(sealing);
    expect(await durably(standings.snapshot(SLICE, 1, ""))).toMatchObject({
      rows: [{ key, version: write(1).version }],
    });
  });

  test("refuses every vote and read afterwards, and tells the next view", async () => {
    await durably(replica.accept(SLICE, b1, [write(1)]));
    await seal(toSecond);
    const view = { ...second, previous: first };
    const refusal = { ok: false, reason: "epoch", view };
    const b2 = makeBallot(1, 2, B);
    expect(await replica.prepare([{ slice: SLICE, ballot: b2 }])).toMatchObject([refusal]);
    expect(await replica.accept(SLICE, b1, [write(2)])).toMatchObject(refusal);
    expect(await replica.readReg(SLICE, b1, [key])).toMatchObject(refusal);
    expect(replica.confirm(SLICE, b1)).toMatchObject(refusal);
    expect(replica.readFast(SLICE, key, "value")).toMatchObject(refusal);
    expect(await replica.sync(SLICE, 1, [write(2)])).toEqual([]);
    expect(replica.read(SLICE, key, "value").value).toBe("v1");
  });

  test("that the disk refused is not answered, and is made good when it comes again", async () => {
    const sealing = standings.seal(SLICE, toSecond);
    const failed = expect(sealing).rejects.toThrow("The disk refuses");
    await store.refuse();
    await failed;
    expect(replica.votesIn(SLICE)).toBe(false);
    expect(await seal(toSecond)).toMatchObject({ ok: true, state: "sealed" });
    restart();
    expect(standings.standing(SLICE).mode).toBe("sealed");
  });

  test("that comes twice is answered twice, each time only when the seal is durable", async () => {
    const both = [standings.seal(SLICE, toSecond), standings.seal(SLICE, toSecond)];
    expect(await endedBefore(Promise.race(both))).toBe(false);
    await store.sync();
    for (const one of both) expect(await one).toMatchObject({ ok: true, state: "sealed" });
    expect(sealed).toEqual([2]);
  });

  test("finds a member of the next view joined, active or sealed since", async () => {
    await install(toSecond);
    await activate();
    const joined = { ok: true, state: "joined", page: { rows: [], more: false } };
    expect(await seal(toSecond)).toEqual(joined);
    await seal(toThird);
    expect(await seal(toSecond)).toEqual(joined);
  });

  test("of a member that never was active in the view: it never will be, durably", async () => {
    open(D);
    await install(toSecond);
    const { joining } = standings.standing(SLICE);
    const sealing = standings.seal(SLICE, toThird);
    expect(await endedBefore(sealing)).toBe(false);
    await store.sync();
    expect(await sealing).toEqual({ ok: true, state: "empty" });
    expect(await durably(standings.activate(SLICE, joining!))).toBe(false);
    restart(D);
    expect(await install(toSecond)).toBe(false);
    expect(replica.votesIn(SLICE)).toBe(false);
  });

  // Seed 23 found it: a later view without this folder came first, and the folder went on to join the earlier one.
  test("of a member that has heard of a later view: it stops to join the earlier one, durably", async () => {
    await install(toSecond);
    const { joining } = standings.standing(SLICE);
    expect(await install(toThird)).toBe(false);
    expect(await seal(toThird)).toEqual({ ok: true, state: "empty" });
    expect(await durably(standings.activate(SLICE, joining!))).toBe(false);
    restart();
    expect(standings.standing(SLICE).joining).toBeUndefined();
    expect(replica.votesIn(SLICE)).toBe(false);
  });

  // Who asked counts on it: a majority of the view may be this member and one that decided nothing.
  test("of a member that joins this view or a later one: it never votes in the earlier one, whatever it is told", async () => {
    const toFourth: ViewChange = { view: { epoch: 4, members: [E, F, A] }, previous: third };
    for (const leave of [
      () => install(toFourth),
      () => durably(standings.leaveJoin(SLICE, standings.standing(SLICE).joining!, false)),
    ]) {
      open(D, new HeldStore());
      await install(toSecond);
      await install(toThird);
      expect(await seal(toThird)).toEqual({ ok: true, state: "empty" });
      expect(standings.standing(SLICE).joining).toEqual(toThird);
      await leave();
      restart(D);
      expect(standings.standing(SLICE).joining).toBeUndefined();
      expect(await install(toSecond)).toBe(false);
      expect(replica.votesIn(SLICE)).toBe(false);
    }
  });

  test("wins over an activation that is on its way to the disk", async () => {
    open(D);
    await install(toSecond);
    const activating = standings.activate(SLICE, standings.standing(SLICE).joining!);
    const sealing = standings.seal(SLICE, toThird);
    await store.sync();
    expect(await activating).toBe(false);
    expect(await sealing).toEqual({ ok: true, state: "empty" });
    expect(replica.votesIn(SLICE)).toBe(false);
    restart(D);
    expect(replica.votesIn(SLICE)).toBe(false);
  });

  test("is refused by who was in no part of it, and by who is further", async () => {
    open(F);
    expect(await seal(toSecond)).toMatchObject({ ok: false, reason: "epoch" });
    open(D, new HeldStore());
    await install(toThird);
    await activate();
    expect(await seal(toSecond)).toMatchObject({ ok: false, view: { epoch: 3 } });
    expect(replica.votesIn(SLICE)).toBe(true);
  });
});

describe("INSTALL", () => {
  test("notes durably what a newcomer is to join, and seals who was in the view before, by one sync", async () => {
    const installing = standings.install(SLICE, toSecond);
    expect(replica.votesIn(SLICE)).toBe(false);
    expect(await endedBefore(installing)).toBe(false);
    await store.sync();
    expect(await installing).toBe(true);
    restart();
    expect(standings.standing(SLICE)).toMatchObject({ mode: "sealed", joining: toSecond });
  });

  test("tells who leaves nothing to join", async () => {
    open(B);
    expect(await install(toSecond)).toBe(false);
    expect(standings.standing(SLICE)).toMatchObject({ mode: "sealed", joining: undefined });
  });

  test("of a settled change leaves nothing to be kept, durably, by one sync", async () => {
    open(B);
    const installing = standings.install(SLICE, toSecond, true);
    await store.sync();
    expect(await installing).toBe(false);
    expect(sealed).toEqual([2]);
    restart(B);
    expect(standings.standing(SLICE)).toMatchObject({ mode: "none", forward: toSecond });
  });

  test("that comes again keeps the change that is being joined", async () => {
    open(D);
    await install(toSecond);
    const { joining } = standings.standing(SLICE);
    expect(await install({ ...toSecond })).toBe(true);
    expect(standings.standing(SLICE).joining).toBe(joining);
  });

  test("of an older view than is known changes nothing", async () => {
    open(D);
    await install(toThird);
    const rows = new Map(store.rows);
    expect(await install(toSecond)).toBe(false);
    expect(store.rows).toEqual(rows);
    await activate();
    expect(await install(toSecond)).toBe(false);
    expect(replica.votesIn(SLICE)).toBe(true);
  });

  test("of a view two further on ends an activity that a majority has left behind", async () => {
    open(A);
    expect(await install(toThird)).toBe(false);
    expect(standings.standing(SLICE)).toMatchObject({ mode: "none" });
    expect(replica.votesIn(SLICE)).toBe(false);
    expect(await durably(standings.snapshot(SLICE, 1, ""))).toMatchObject({ ok: false });
  });
});

describe("activation", () => {
  beforeEach(async () => {
    open(D);
    await install(toSecond);
  });

  test("is durable before the folder votes", async () => {
    const activating = standings.activate(SLICE, standings.standing(SLICE).joining!);
    expect(await endedBefore(activating)).toBe(false);
    expect(replica.votesIn(SLICE)).toBe(false);
    await store.sync();
    expect(await activating).toBe(true);
    expect(replica.votesIn(SLICE)).toBe(true);
    restart(D);
    expect(replica.votesIn(SLICE)).toBe(true);
    expect(replica.viewOf(SLICE)).toEqual(second);
  });

  test("that the disk refused did not happen, and may be tried again", async () => {
    const failed = expect(
      standings.activate(SLICE, standings.standing(SLICE).joining!),
    ).rejects.toThrow("The disk refuses");
    await store.refuse();
    await failed;
    expect(replica.votesIn(SLICE)).toBe(false);
    expect(await activate()).toBe(true);
  });

  test("promises the epoch to its first member, so that no ballot of an older one counts", async () => {
    await activate();
    const ballot = makeBallot(2, 1, second.members[0]!);
    expect(replica.promised(SLICE)).toBe(ballot);
    expect(await replica.accept(SLICE, b1, [write(1)])).toMatchObject({ ok: false });
    expect(await durably(replica.accept(SLICE, ballot, [write(1, ballot)]))).toEqual({ ok: true });
  });

  test("lets the first member be elected without a sync, until somebody was", async () => {
    const ballot = makeBallot(2, 1, second.members[0]!);
    const prepare = () => replica.prepare([{ slice: SLICE, ballot }]);
    await durably(standings.put(SLICE, [write(1)]));
    await activate();
    expect(replica.inherits(SLICE)).toBe(true);
    expect(await prepare()).toEqual([{ ok: true, keys: [key] }]);
    expect(replica.inherits(SLICE)).toBe(false);
    expect(await prepare()).toMatchObject([{ ok: false, reason: "promised", promised: ballot }]);
  });

  test("gives a promise that does not outlive the process, an election that others tell of, or a higher ballot", async () => {
    const ballot = makeBallot(2, 1, second.members[0]!);
    await activate();
    restart(D);
    expect(replica.inherits(SLICE)).toBe(false);
    expect(replica.promised(SLICE)).toBe(ballot);
    for (const told of [
      () => replica.confirm(SLICE, ballot),
      () => durably(replica.accept(SLICE, ballot, [write(1, ballot)])),
      () => durably(replica.prepare([{ slice: SLICE, ballot: makeBallot(2, 2, B) }])),
    ]) {
      open(D, new HeldStore());
      await install(toSecond);
      await activate();
      expect(replica.inherits(SLICE)).toBe(true);
      await told();
      expect(replica.inherits(SLICE)).toBe(false);
    }
  });

  test("makes an end of copying into the slice", async () => {
    await durably(standings.put(SLICE, [write(1)]));
    await activate();
    await expect(standings.put(SLICE, [write(2)])).rejects.toMatchObject({ code: "Unavailable" });
    expect(replica.read(SLICE, key, "value").value).toBe("v1");
  });
});

describe("put and retire", () => {
  test("put overwrites newer registers, and activation deletes, with their bodies", async () => {
    open(D);
    const body = Uint8Array.of(1);
    await durably(standings.put(SLICE, [{ ...write(9), body }]));
    expect(store.rows.has(bodyRow(SLICE, key))).toBe(true);
    await durably(standings.put(SLICE, [write(1)]));
    expect(replica.read(SLICE, key, "body")).toEqual(write(1));
    await durably(standings.put(SLICE, [{ ...write(9), body }]));
    await install(toSecond);
    await durably(standings.activate(SLICE, standings.standing(SLICE).joining!, [key]));
    expect(store.rows.has(registerRow(SLICE, key))).toBe(false);
    expect(store.rows.has(bodyRow(SLICE, key))).toBe(false);
  });

  test("retire of a member of a view deletes nothing", async () => {
    await durably(replica.accept(SLICE, b1, [write(1)]));
    await durably(standings.retire(SLICE));
    expect(replica.read(SLICE, key, "value").value).toBe("v1");
  });

  test("retire says durably that nothing is here before it deletes anything", async () => {
    await durably(replica.accept(SLICE, b1, [write(1)]));
    await seal(toSecond);
    const retiring = standings.retire(SLICE);
    await turn();
    restart(); // the power goes before the first sync
    expect(standings.standing(SLICE).mode).toBe("sealed");
    expect(replica.read(SLICE, key, "value").value).toBe("v1");
    void retiring;
    const again = standings.retire(SLICE);
    await store.sync(1);
    expect(replica.read(SLICE, key, "value").value).toBe("v1");
    expect(await durably(standings.snapshot(SLICE, 1, ""))).toMatchObject({ ok: false });
    await durably(again);
    expect(replica.read(SLICE, key, "value").version).toBe("");
    restart();
    expect(standings.standing(SLICE)).toMatchObject({ mode: "none", forward: toSecond });
  });

  test("retire that the disk refused says so again before it deletes anything", async () => {
    await durably(replica.accept(SLICE, b1, [write(1)]));
    await seal(toSecond);
    const failed = expect(standings.retire(SLICE)).rejects.toThrow("The disk refuses");
    await turn();
    await store.refuse();
    await failed;
    void standings.retire(SLICE);
    await turn();
    await store.sync(1);
    restart();
    expect(standings.standing(SLICE).mode).toBe("none");
    expect(replica.read(SLICE, key, "value").value).toBe("v1");
  });

  test("a snapshot whose source retires while it is read is refused", async () => {
    await durably(replica.accept(SLICE, b1, [write(1)]));
    await seal(toSecond);
    const reading = standings.snapshot(SLICE, 1, "");
    const retiring = standings.retire(SLICE);
    expect(await durably(reading)).toMatchObject({ ok: false });
    await durably(retiring);
  });

  test("retire stops deleting when the folder is to join again", async () => {
    open(B);
    await durably(replica.accept(SLICE, b1, [write(1)]));
    await seal(toSecond);
    const retiring = standings.retire(SLICE);
    const back: ViewChange = { view: { epoch: 3, members: [B, D, E] }, previous: second };
    expect(await durably(standings.install(SLICE, back))).toBe(true);
    await durably(retiring);
    expect(standings.standing(SLICE).joining).toEqual(back);
  });
});
