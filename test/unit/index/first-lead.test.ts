// How a new view comes to its first leader: who tells whom what it has promised, and what is asked for when nobody does.
import { beforeEach, expect, test } from "vitest";
import { FirstLead, type ToldPromise } from "../../../node/index/first-lead.ts";
import { type SliceLeader } from "../../../node/index/slice-leader.ts";
import { type View } from "../../../node/index/views.ts";
import { Peers } from "../../../node/peers.ts";
import { TransportError } from "../../../node/ports.ts";
import { silentLog } from "../../../node/runtime/json-log.ts";
import { type VoterId } from "../../../shared/ids.ts";
import { firstLeadPauseMs, installTimeoutMs } from "../../../shared/limits.ts";
import { type Slice } from "../../../shared/slices.ts";
import { makeBallot } from "../../../shared/versions.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";
import { A, B, C } from "./voters.ts";

const SLICE = 7 as Slice;
const view: View = { epoch: 2, members: [A, B, C] };
const ballot = makeBallot(2, 1, A);
const promiseOf = (member: VoterId): ToldPromise => ({ slice: SLICE, ballot, member, keys: [] });

let clock: VirtualClock;
/** What is sent to peers: the first digit of the node, and what it is told. */
let sent: { to: string; promise: ToldPromise }[];
let errors: string[];
let present: View;
let inherits: boolean;
/** Whether this folder still stands by the promise that came with the view. */
let promises: boolean;
let isSilent: boolean;
/** What the first one says to a promise. */
let leads: boolean;
/** This folder knows that the ballot made a leader. */
let spent: boolean;
/** Members whose promises made a leader. */
let led: VoterId[] | undefined;
let campaigns: number;

beforeEach(() => {
  clock = new VirtualClock();
  sent = [];
  errors = [];
  present = view;
  inherits = promises = true;
  isSilent = spent = false;
  leads = true;
  led = undefined;
  campaigns = 0;
});

function open(voter: VoterId): FirstLead {
  const unused = (): never => {
    throw new Error("Not used here");
  };
  return new FirstLead({
    replica: {
      inherits: () => inherits,
      viewOf: () => present,
      inheritedPromise: async () => (promises ? { keys: ["k"] } : undefined),
      promised: () => ballot,
      spendInherited: () => {
        spent = true;
        inherits = false;
      },
    },
    elections: {
      voter,
      campaign: async () => void campaigns++,
      inherit: (_slice, _ballot, given) => {
        if (given.size < 2 || !given.has(voter) || !inherits) return false;
        led = [...given.keys()];
        inherits = false;
        return true;
      },
      leaderOf: () => (led ? ({ view: present } as SliceLeader) : undefined),
    },
    peers: new Peers({
      call: async (peer, _name, promise) => {
        sent.push({ to: peer.address[0]!, promise: promise as ToldPromise });
        if (isSilent) throw new TransportError("timeout", "No answer");
        return { leads };
      },
      open: unused,
      serve: unused,
      close: unused,
    }),
    route: { peer: (id) => ({ id, address: id }) },
    clock,
    log: { ...silentLog, error: (event) => void errors.push(event) },
  });
}

test("a member tells the first one its promise and what it holds, as soon as it is active, once", async () => {
  const first = open(B);
  first.active(SLICE, view);
  await clock.runFor(60_000);
  expect(sent).toEqual([{ to: "1", promise: { ...promiseOf(B), keys: ["k"] } }]);
  expect(campaigns).toBe(0);
  expect(spent).toBe(true);
});

test("a member tells again until it hears that the first one leads, or that another does", async () => {
  for (const trouble of ["does not lead", "is silent"]) {
    leads = trouble !== "does not lead";
    isSilent = trouble === "is silent";
    spent = false;
    inherits = true;
    sent = [];
    open(B).active(SLICE, view);
    await clock.runFor(1_000);
    expect(sent.length).toBeGreaterThan(3);
    expect(spent).toBe(false);
    leads = true;
    isSilent = false;
    const before = sent.length;
    await clock.runFor(60_000);
    expect(sent.length).toBe(before + 1);
    expect(spent).toBe(true);
  }
  expect(errors).toEqual([]);
});

test("a member that has promised more since tells nothing", async () => {
  promises = false;
  open(B).active(SLICE, view);
  await clock.runFor(60_000);
  expect(sent).toEqual([]);
});

test("the first one leads by the first promise that it is told, and asks nobody", async () => {
  const first = open(A);
  first.active(SLICE, view);
  await clock.runFor(1);
  expect(led).toBeUndefined();
  expect(await first.hear(promiseOf(C))).toEqual({ leads: true });
  expect(led).toEqual([A, C]);
  expect(await first.hear(promiseOf(B))).toEqual({ leads: true });
  await clock.runFor(60_000);
  expect(campaigns).toBe(0);
  expect(sent).toEqual([]);
});

test("promises told before it is active count then, those of an earlier view never", async () => {
  const first = open(A);
  present = { epoch: 1, members: [A, B, C] };
  const answer = first.hear(promiseOf(B));
  const earlier = first.hear({ ...promiseOf(C), ballot: makeBallot(1, 1, A) });
  await clock.runFor(1);
  expect(led).toBeUndefined();
  expect(await earlier).toEqual({ leads: false });
  present = view;
  first.active(SLICE, view);
  await clock.runFor(1);
  expect(led).toEqual([B, A]);
  expect(await answer).toEqual({ leads: true });
});

test("a promise is answered after a while when the first one does not become active, and counts no longer", async () => {
  present = { epoch: 1, members: [A, B, C] };
  const first = open(A);
  const answer = first.hear(promiseOf(B));
  expect(await clock.settle(answer, { deadlineMs: installTimeoutMs })).toEqual({ leads: false });
  present = view;
  first.active(SLICE, view);
  await clock.runFor(1);
  expect(led).toBeUndefined();
});

test("a late promise of an earlier view leaves those of a later one", async () => {
  present = { epoch: 2, members: [A, B, C] };
  inherits = false;
  const first = open(A);
  const later = { epoch: 3, members: [A, B, C] };
  void first.hear({ ...promiseOf(B), ballot: makeBallot(3, 1, A) });
  expect(await first.hear(promiseOf(C))).toEqual({ leads: false });
  present = later;
  inherits = true;
  first.active(SLICE, later);
  await clock.runFor(1);
  expect(led).toEqual([B, A]);
});

test("a first one that leads by a later ballot says so", async () => {
  led = [A, B];
  inherits = false;
  expect(await open(A).hear(promiseOf(C))).toEqual({ leads: true });
});

test("what nobody tells is asked for after a while, until somebody leads", async () => {
  const first = open(A);
  first.active(SLICE, view);
  await clock.runFor(firstLeadPauseMs - 1);
  expect(campaigns).toBe(0);
  await clock.runFor(1);
  expect(campaigns).toBe(1);
  await clock.runFor(2 * firstLeadPauseMs);
  expect(campaigns).toBe(2);
  inherits = false;
  await clock.runFor(60_000);
  expect(campaigns).toBe(2);
});

test("a promise that comes late, once somebody leads or a later view is there, makes no leader", async () => {
  const first = open(A);
  inherits = false;
  for (const member of [B, A])
    expect(await first.hear(promiseOf(member))).toEqual({ leads: false });
  inherits = true;
  void first.hear(promiseOf(C));
  expect(led).toBeUndefined();
  present = { epoch: 3, members: [A, B, C] };
  expect(await first.hear(promiseOf(A))).toEqual({ leads: false });
  expect(led).toBeUndefined();
});
