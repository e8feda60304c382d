// How a leader hands its slice over to the next view while it serves: who is told what, in which order, and when it goes
// on instead; and what the members of that view answer.
import { beforeEach, expect, test } from "vitest";
import { Handovers } from "../../../node/index/handovers.ts";
import { NotLeader } from "../../../node/index/quorum.ts";
import { type SliceLeader } from "../../../node/index/slice-leader.ts";
import { ViewPauses } from "../../../node/index/view-pauses.ts";
import { type ViewReplica } from "../../../node/index/view-replica.ts";
import { type ViewChange } from "../../../node/index/views.ts";
import { Peers } from "../../../node/peers.ts";
import { TransportError } from "../../../node/ports.ts";
import { type Member } from "../../../node/route/types.ts";
import { silentLog } from "../../../node/runtime/json-log.ts";
import { RingstowError } from "../../../shared/errors.ts";
import { type NodeId, type VoterId, nodeOfVoter } from "../../../shared/ids.ts";
import {
  acceptTimeoutMs,
  callTimeoutMs,
  handoverStepMs,
  namesToldMax,
  servingMs,
} from "../../../shared/limits.ts";
import { type Slice } from "../../../shared/slices.ts";
import { type Ballot, epochOf, makeBallot } from "../../../shared/versions.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";
import { A, B, C, D } from "./voters.ts";

const SLICE = 7 as Slice;
const changeTo = (...members: VoterId[]): ViewChange => ({
  view: { epoch: 2, members },
  previous: { epoch: 1, members: [A, B, C] },
});
/** A leads, and leaves; D is the first of those who come after. */
const leaving = changeTo(D, B, C);
/** A stays, but D leads next; or A itself does. */
const staying = changeTo(D, A, B);
const keeping = changeTo(A, B, D);
const ballot = makeBallot(1, 3, A);
const nextBallot = makeBallot(2, 1, D);

const ENTERS = ["enter 4", "enter 2", "enter 3"];
const JOINS = ["join 4", "join 2", "join 3"];
const PREPARED = ["seal", ...ENTERS, "widen", ...JOINS, "confirm"];

let clock: VirtualClock;
/** What was done, in order; what members are told, with the first digit of their nodes. */
let events: string[];
/** What was said by it. */
let said: Map<string, unknown>;
/** What becomes of it, unless all goes well. */
let acts: Map<string, (timeoutMs: number) => unknown>;
let states: Map<NodeId, Member["state"]>;
let unknown: NodeId | undefined;
let observed: unknown[];
let warnings: unknown[];
let pauses: ViewPauses;
/** The leader's names at its end; undefined: it was over before. */
let finished: { names: ReadonlySet<string> | undefined } | undefined;
let isDeposed: boolean;
/** What this node's own elections were given, and which epoch they lead. */
let inherited: unknown[];
let ledEpoch: number | undefined;
/** What this folder joins, and whether it is active there. */
let joining: ViewChange | undefined;
let isActive: boolean;
/** What this folder has promised itself with the next view, if it still stands by that. */
let own: { keys: string[] | undefined } | undefined;
let peers: Peers;
let handovers: Handovers;

async function act(event: string, what?: unknown, timeoutMs = 0): Promise<unknown> {
  events.push(event);
  said.set(event, what);
  return acts.get(event)?.(timeoutMs);
}

async function silent(timeoutMs: number): Promise<never> {
  await clock.sleep(timeoutMs);
  throw new TransportError("timeout", "No answer");
}

/** Something goes on only when it is released. */
function hold(event: string): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  acts.set(event, () => promise);
  return resolve;
}

const leader = {
  slice: SLICE,
  ballot,
  get deposed() {
    return isDeposed;
  },
  widen: (members: readonly VoterId[]) => act("widen", members),
  confirm: () => act("confirm"),
  finish: async () => {
    await act("finish");
    return finished;
  },
} as unknown as SliceLeader;

function open(): Handovers {
  const unused = (): never => {
    throw new Error("Not used here");
  };
  peers = new Peers({
    call: async (peer, name, request, timeoutMs) => {
      const event = `${name.replace("index.", "")} ${peer.address[0]!}`;
      return (await act(event, request, timeoutMs)) ?? { serves: true, active: true, leads: true };
    },
    open: unused,
    serve: unused,
    close: unused,
  });
  const standings = {
    seal: (...given: unknown[]) => act("seal", given),
    enter: async (...given: unknown[]) => (await act("enter here", given)) ?? true,
    dismiss: (...given: unknown[]) => void act("dismiss", given),
    led: (...given: unknown[]) => void act("led", given),
    standing: () => ({ joining }),
    isActive: () => isActive,
  };
  return new Handovers({
    standings: standings as unknown as ViewReplica,
    joiner: { join: async (slice) => void (await act("join here", slice)) },
    replica: { inheritedPromise: async () => own },
    pauses,
    peers,
    route: {
      voter: A,
      find: (id) => ({ state: states.get(id) ?? "alive" }) as Member,
      peer: (id) => (id === unknown ? undefined : { id, address: id }),
      observed: (...given) => void observed.push(given),
    },
    clock,
    log: { ...silentLog, warn: (event, fields) => void warnings.push([event, fields]) },
  });
}

const elections = {
  inherit: (slice: Slice, given: Ballot, promises: ReadonlyMap<VoterId, unknown>): boolean => {
    void act("inherit");
    inherited.push([slice, given, [...promises]]);
    ledEpoch ??= epochOf(given);
    return true;
  },
  leaderOf: () =>
    ledEpoch === undefined ? undefined : ({ view: { epoch: ledEpoch } } as SliceLeader),
};

beforeEach(() => {
  clock = new VirtualClock();
  [events, observed, warnings, inherited] = [[], [], [], []];
  pauses = new ViewPauses(clock);
  own = { keys: ["own"] };
  [said, acts, states] = [new Map(), new Map(), new Map()];
  unknown = ledEpoch = joining = undefined;
  finished = { names: new Set() };
  isDeposed = isActive = false;
  handovers = open();
  handovers.start(elections);
});

const run = (change = leaving): Promise<boolean> => clock.settle(handovers.run(leader, change));

/** What a peer tells this node, and what it answers. */
const ask = (name: string, request: unknown): Promise<unknown> =>
  peers.handlers().call(name, request, { id: undefined, address: "" });

/** The hand-over is run, and comes to stand where it is held. */
async function runInto(event: string, change = leaving) {
  const release = hold(event);
  const done = handovers.run(leader, change);
  await clock.runFor(1);
  expect(events.at(-1)).toBe(event);
  return {
    done,
    release: async () => {
      release();
      await clock.runFor(1);
    },
  };
}

// -------------------------------------------------------------------- the order

test("a leader hands over in order, and tells each member what it needs", async () => {
  finished = { names: new Set(["a", "b"]) };
  expect(await run()).toBe(true);
  expect(events).toEqual([...PREPARED, "finish", "lead 4", "led"]);
  expect(said.get("seal")).toEqual([SLICE, leaving, ballot]);
  for (const event of ENTERS)
    expect(said.get(event)).toEqual({ slice: SLICE, change: leaving, leader: ballot });
  expect(said.get("widen")).toEqual(leaving.view.members);
  for (const event of JOINS) expect(said.get(event)).toEqual({ slice: SLICE, change: leaving });
  expect(said.get("lead 4")).toEqual({
    slice: SLICE,
    ballot: nextBallot,
    active: [D, B, C],
    names: ["a", "b"],
  });
  expect(said.get("led")).toEqual([SLICE, leaving]);
  expect([observed, warnings]).toEqual([[], []]);
});

test("quorums are widened when all members have entered, and only then is anybody told to join", async () => {
  const releaseEnter = hold("enter 2");
  const widening = hold("widen");
  const done = handovers.run(leader, leaving);
  await clock.runFor(1);
  expect(events).toEqual(["seal", ...ENTERS]);
  releaseEnter();
  await clock.runFor(1);
  expect(events).toEqual(["seal", ...ENTERS, "widen"]);
  widening();
  expect(await clock.settle(done)).toBe(true);
  expect(events).toEqual([...PREPARED, "finish", "lead 4", "led"]);
});

test("a leader that leaves is sealed before anybody is told", async () => {
  const { done, release } = await runInto("seal");
  expect(events).toEqual(["seal"]);
  await release();
  expect(await clock.settle(done)).toBe(true);
});

test("a leader that stays is not sealed: it enters and joins like the others, in its own process", async () => {
  joining = staying;
  isActive = true;
  expect(await run(staying)).toBe(true);
  expect(events).toEqual([
    ...["enter 4", "enter here", "enter 2", "widen", "join 4", "join here", "join 2"],
    ...["confirm", "finish", "lead 4", "led"],
  ]);
  expect(said.get("enter here")).toEqual([SLICE, staying, ballot]);
  expect(said.get("lead 4")).toMatchObject({ active: [D, A, B] });
});

test("a leader confirms that it leads when members have joined, and before it ends", async () => {
  const join = hold("join 2");
  const confirm = hold("confirm");
  const done = handovers.run(leader, leaving);
  await clock.runFor(1);
  expect(events).toEqual(PREPARED.slice(0, -1));
  join();
  await clock.runFor(1);
  expect(events).toEqual(PREPARED);
  confirm();
  expect(await clock.settle(done)).toBe(true);
  expect(events).toEqual([...PREPARED, "finish", "lead 4", "led"]);
});

// -------------------------------------------------------------------- going on instead

const troubles: Record<string, () => void> = {
  "does not serve": () => acts.set("enter 3", () => ({ serves: false })),
  "does not answer": () => acts.set("enter 3", silent),
  refuses: () =>
    acts.set("enter 3", () => {
      throw new RingstowError("Unavailable");
    }),
  "has no address": () => (unknown = nodeOfVoter(C)),
};

for (const [trouble, make] of Object.entries(troubles)) {
  test(`a leader goes on, and nobody is told to join, when one member ${trouble}`, async () => {
    make();
    expect(await run()).toBe(false);
    expect(events).toEqual(["seal", ...(unknown ? ENTERS.slice(0, 2) : ENTERS)]);
    expect(clock.now).toBeLessThanOrEqual(acceptTimeoutMs);
    const isSilent = trouble === "does not answer";
    expect(observed).toEqual(isSilent ? [[nodeOfVoter(C), false]] : []);
    expect([handovers.ending(SLICE), warnings]).toEqual([undefined, []]);
  });
}

test("a leader goes on, and nobody is told anything, when one member is not live", async () => {
  for (const state of ["dead", "left"] as const) {
    states.set(nodeOfVoter(B), state);
    expect(await run()).toBe(false);
  }
  expect(events).toEqual([]);
  states.set(nodeOfVoter(B), "suspect");
  expect(await run()).toBe(true);
});

test("a leader that stays goes on when it does not serve itself", async () => {
  acts.set("enter here", () => false);
  expect(await run(staying)).toBe(false);
  expect(events).toEqual(["enter 4", "enter here", "enter 2"]);
});

test("a leader that is over when all have entered widens nothing", async () => {
  const { done, release } = await runInto("enter 3");
  isDeposed = true;
  await release();
  expect(await clock.settle(done)).toBe(false);
  expect(events).toEqual(["seal", ...ENTERS]);
});

test("a leader goes on when the first member, or a majority, does not become active", async () => {
  const inactive = (): unknown => ({ active: false });
  for (const [missing, how] of [
    [["join 4"], inactive],
    [["join 4"], silent],
    [["join 2", "join 3"], inactive],
    [["join 2", "join 3"], silent],
  ] as const) {
    events = [];
    acts = new Map(missing.map((event) => [event, how]));
    const begunMs = clock.now;
    expect(await run()).toBe(false);
    expect(events).toEqual(PREPARED.slice(0, -1));
    expect(clock.now - begunMs).toBe(how === silent ? handoverStepMs : 0);
  }
  expect([handovers.ending(SLICE), warnings]).toEqual([undefined, []]);
});

test("a member that is not active yet is waited for, and then left out of those who promised", async () => {
  acts.set("join 2", silent);
  expect(await run()).toBe(true);
  expect(said.get("lead 4")).toMatchObject({ active: [D, C] });
});

// -------------------------------------------------------------------- the end

test("names are told when they are few, and left out when they are many or not known", async () => {
  const many = Array.from({ length: namesToldMax + 1 }, (_, i) => `k${i}`);
  const few = many.slice(1);
  const rest = { slice: SLICE, ballot: nextBallot, active: [D, B, C] };
  for (const [names, told] of [
    [few, { ...rest, names: few }],
    [many, rest],
    [undefined, rest],
  ] as const) {
    finished = { names: names && new Set(names) };
    expect(await run()).toBe(true);
    expect(said.get("lead 4")).toStrictEqual(told);
  }
});

test("a leader that leads next as well does so in its own process, by the promises of who is active", async () => {
  joining = keeping;
  isActive = true;
  acts.set("join 2", () => ({ active: false }));
  finished = { names: new Set(["a"]) };
  expect(await run(keeping)).toBe(true);
  expect(events.slice(-4)).toEqual(["confirm", "finish", "inherit", "led"]);
  const promises = [
    [A, ["a", "own"]],
    [D, ["a"]],
  ];
  expect(inherited).toEqual([[SLICE, makeBallot(2, 1, A), promises]]);
});

test("it is known that the next leader is to come from this one's stop until that one answers, no longer", async () => {
  const finishing = hold("finish");
  const leading = hold("lead 4");
  const { done, release } = await runInto("confirm");
  expect(handovers.ending(SLICE)).toBeUndefined();
  await release();
  const ending = handovers.ending(SLICE);
  expect([events.at(-1), ending]).toEqual(["finish", expect.any(Promise)]);
  expect(handovers.ending(8 as Slice)).toBeUndefined();
  let after: unknown = "not ended";
  void ending!.then(() => (after = handovers.ending(SLICE)));
  finishing();
  await clock.runFor(1);
  expect([events.at(-1), after]).toEqual(["lead 4", "not ended"]);
  expect(handovers.ending(SLICE)).toBe(ending);
  leading();
  expect(await clock.settle(done)).toBe(true);
  expect([after, handovers.ending(SLICE)]).toEqual([undefined, undefined]);
});

test("who waits for the next leader goes on when that one does not answer, or does not lead", async () => {
  for (const how of [silent, () => ({ leads: false })]) {
    const { done, release } = await runInto("finish");
    let hasEnded = false;
    void handovers.ending(SLICE)!.then(() => (hasEnded = true));
    acts.set("lead 4", how);
    await release();
    const begunMs = clock.now;
    expect(await clock.settle(done)).toBe(false);
    expect(clock.now - begunMs).toBeLessThanOrEqual(callTimeoutMs);
    expect([hasEnded, handovers.ending(SLICE)]).toEqual([true, undefined]);
    // Nor is the leader that has stopped served any more.
    expect(events.slice(-2)).toEqual(["lead 4", "dismiss"]);
    expect(said.get("dismiss")).toEqual([SLICE, ballot]);
  }
  expect(warnings).toEqual([]);
});

test("the pause is counted once, from the stop to the answer", async () => {
  acts.set("enter 4", () => clock.sleep(100));
  acts.set("confirm", () => clock.sleep(100));
  acts.set("finish", () => clock.sleep(20));
  acts.set("lead 4", () => clock.sleep(30));
  expect(await run()).toBe(true);
  expect(pauses.summary()).toMatchObject({ count: 1, longestMs: 50 });
  pauses.ended(SLICE, 2);
  expect(pauses.summary().count).toBe(1);
});

test("the pause goes on when the next one does not lead, until somebody does", async () => {
  acts.set("finish", () => clock.sleep(20));
  acts.set("lead 4", silent);
  expect(await run()).toBe(false);
  expect(pauses.summary().count).toBe(0);
  await clock.runFor(5);
  pauses.ended(SLICE, 2);
  expect(pauses.summary()).toMatchObject({ count: 1, longestMs: 20 + callTimeoutMs + 5 });
});

test("a leader that is deposed while its last operations end tells nobody to lead", async () => {
  const { done, release } = await runInto("finish");
  let hasEnded = false;
  void handovers.ending(SLICE)!.then(() => (hasEnded = true));
  finished = undefined;
  await release();
  expect(await clock.settle(done)).toBe(false);
  expect(events).toEqual([...PREPARED, "finish", "dismiss"]);
  expect([hasEnded, handovers.ending(SLICE)]).toEqual([true, undefined]);
  expect(pauses.summary().count).toBe(0);
});

test("a fault never rejects: it is logged, and who waits for the next leader goes on", async () => {
  const fault = (): never => {
    throw new Error("A fault");
  };
  for (const event of ["seal", "enter 2", "widen", "join 2", "confirm", "finish", "lead 4"]) {
    acts = new Map([[event, fault]]);
    warnings = [];
    expect(await run()).toBe(false);
    expect(warnings).toEqual([
      ["Cannot hand over", { slice: SLICE, error: expect.stringContaining("A fault") }],
    ]);
    expect(handovers.ending(SLICE)).toBeUndefined();
  }
  acts = new Map([["enter here", fault]]); // its own disk refuses
  expect(await run(staying)).toBe(false);
  expect(warnings).toHaveLength(2);
});

test("what may keep a leader from handing over is not logged", async () => {
  const errors = [new NotLeader("Over"), new RingstowError("Unavailable")];
  for (const event of ["seal", "widen", "confirm", "finish"]) {
    for (const error of errors) {
      acts = new Map([[event, () => Promise.reject(error)]]);
      events = [];
      expect(await run()).toBe(false);
      expect(events.filter((one) => one !== "dismiss").at(-1)).toBe(event);
    }
  }
  expect(warnings).toEqual([]);
});

// -------------------------------------------------------------------- the members

test("who has entered serves the leader for a while, and no longer", async () => {
  const request = { slice: SLICE, change: leaving, leader: ballot };
  expect(await ask("index.enter", request)).toEqual({ serves: true });
  expect(said.get("enter here")).toEqual([SLICE, leaving, ballot]);
  await clock.runFor(servingMs - 1);
  expect(events).toEqual(["enter here"]);
  await clock.runFor(1);
  expect(events).toEqual(["enter here", "dismiss"]);
  expect(said.get("dismiss")).toEqual([SLICE, ballot]);
});

test("who cannot enter says so, and has nothing to end", async () => {
  acts.set("enter here", () => false);
  const request = { slice: SLICE, change: leaving, leader: ballot };
  expect(await ask("index.enter", request)).toEqual({ serves: false });
  await clock.runFor(2 * servingMs);
  expect(events).toEqual(["enter here"]);
});

test("who is to join answers when it is active, or after half of the time it is given", async () => {
  joining = leaving;
  const request = { slice: SLICE, change: leaving };
  hold("join here");
  expect(await clock.settle(ask("index.join", request))).toEqual({ active: false });
  expect(clock.now).toBe(handoverStepMs / 2);
  const begunMs = clock.now;
  acts.set("join here", async () => {
    await clock.sleep(40);
    isActive = true;
  });
  expect(await clock.settle(ask("index.join", request))).toEqual({ active: true });
  expect(clock.now - begunMs).toBe(40);
});

test("who joins nothing, or another view, answers at once what it is", async () => {
  const later = { view: { epoch: 3, members: [A, B, C] }, previous: leaving.view };
  for (const other of [undefined, later]) {
    for (const active of [true, false]) {
      joining = other;
      isActive = active;
      expect(await ask("index.join", { slice: SLICE, change: leaving })).toEqual({ active });
    }
  }
  expect(events).toEqual([]);
});

test("who is told to lead takes the promises of who is active, and its own", async () => {
  const first = makeBallot(2, 1, A);
  const request = { slice: SLICE, ballot: first, active: [A, B] };
  expect(await ask("index.lead", { ...request, names: ["a"] })).toEqual({ leads: true });
  // What it holds itself may be more than the leader knew of.
  const promises = [
    [A, ["a", "own"]],
    [B, ["a"]],
  ];
  expect(inherited).toEqual([[SLICE, first, promises]]);
  expect(await ask("index.lead", request)).toEqual({ leads: true });
  const unnamed = [A, B].map((member) => [member, undefined]);
  expect(inherited.at(-1)).toEqual([SLICE, first, unnamed]);
  own = { keys: undefined }; // too many
  expect(await ask("index.lead", { ...request, names: ["a"] })).toEqual({ leads: true });
  expect(inherited.at(-1)).toMatchObject({
    2: [
      [A, undefined],
      [B, ["a"]],
    ],
  });
  await ask("index.lead", { ...request, active: [B] });
  expect(inherited.at(-1)).toEqual([SLICE, first, [[B, undefined]]]);
});

test("who has promised another ballot since leads by none, and answers whether it leads that view already", async () => {
  own = undefined;
  const request = { slice: SLICE, ballot: makeBallot(2, 1, A), active: [A, B] };
  expect(await ask("index.lead", request)).toEqual({ leads: false });
  ledEpoch = 2;
  expect(await ask("index.lead", request)).toEqual({ leads: true });
  ledEpoch = 3;
  expect(await ask("index.lead", request)).toEqual({ leads: false });
  expect(inherited).toEqual([]);
});

test("who has not started, or is given too few promises, does not lead", async () => {
  const request = { slice: SLICE, ballot: makeBallot(2, 1, A), active: [A, B] };
  handovers = open();
  ledEpoch = 2; // nobody has told it of its elections
  expect(await ask("index.lead", request)).toEqual({ leads: false });
  handovers.start({ inherit: () => false, leaderOf: () => undefined });
  expect(await ask("index.lead", request)).toEqual({ leads: false });
});

test("a leader who hands over and is gone is not served any more", () => {
  handovers.abandon(SLICE);
  expect(said.get("dismiss")).toEqual([SLICE]);
});
