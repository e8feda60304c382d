// What a node does when it is asked for what only a slice's leader may do: runs it, campaigns first, or says who may be
// asked instead.
import { beforeEach, expect, test } from "vitest";
import { type Elections } from "../../../node/index/elections.ts";
import { OwnLead } from "../../../node/index/own-lead.ts";
import { NotLeader } from "../../../node/index/quorum.ts";
import { type SliceLeader } from "../../../node/index/slice-leader.ts";
import { type View } from "../../../node/index/views.ts";
import { RingstowError } from "../../../shared/errors.ts";
import { type NodeId, parseFolderId, parseNodeId, voterIdOf } from "../../../shared/ids.ts";
import { type Slice } from "../../../shared/slices.ts";
import { type Ballot, makeBallot } from "../../../shared/versions.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";

const SLICE = 7 as Slice;
const [A, B, C] = ["1", "2", "3"].map((digit) => parseNodeId(digit.repeat(32))) as [
  NodeId,
  NodeId,
  NodeId,
];
const view: View = {
  epoch: 2,
  members: [A, B, C].map((node) => voterIdOf(node, parseFolderId("f".repeat(16)))),
};
const LEADER = { slice: SLICE } as SliceLeader;

let clock: VirtualClock;
/** This node is A. */
let lead: OwnLead;
let leader: SliceLeader | undefined;
let votes: boolean;
let serving: Ballot | undefined;
let believed: NodeId | undefined;
let preferred: NodeId | undefined;
let ending: Promise<void> | undefined;
let campaigns: number;
/** Slices whose leader, who hands over, is served no more. */
let abandoned: Slice[];
/** What a campaign changes. */
let win: () => void;
/** The leaders that the work was done by. */
let worked: SliceLeader[];

beforeEach(() => {
  clock = new VirtualClock();
  votes = true;
  leader = serving = believed = preferred = ending = undefined;
  campaigns = 0;
  win = () => {};
  worked = [];
  abandoned = [];
  lead = new OwnLead({
    self: A,
    replica: { votesIn: () => votes, serving: () => serving },
    elections: {
      leaderOf: () => leader,
      believedLeader: () => believed,
      preferred: () => preferred,
      campaign: async () => {
        campaigns++;
        await clock.sleep(10);
        win();
      },
    } as unknown as Elections,
    views: { viewOf: () => view },
    handovers: {
      ending: (slice) => (slice === SLICE ? ending : undefined),
      abandon: (slice) => void abandoned.push(slice),
    },
  });
});

const run = (urge = false): ReturnType<typeof lead.run<{ value: number }>> =>
  lead.run(SLICE, urge, async (by) => {
    worked.push(by);
    return { value: 5 };
  });

test("who leads runs the work, whatever it believes of others", async () => {
  leader = LEADER;
  believed = B;
  votes = false; // as one that hands over
  for (const urge of [false, true])
    expect(await run(urge)).toStrictEqual({ type: "done", value: 5 });
  expect(worked).toEqual([LEADER, LEADER]);
  expect(campaigns).toBe(0);
});

test("a call that comes while a hand-over ends waits, and then goes by what is known", async () => {
  for (const leads of [true, false]) {
    const { promise, resolve } = Promise.withResolvers<void>();
    ending = promise;
    leader = leads ? undefined : LEADER;
    believed = undefined;
    worked = [];
    let isAnswered = false;
    const answer = run().finally(() => (isAnswered = true));
    await clock.runFor(1_000);
    expect(isAnswered).toBe(false);
    expect(worked).toEqual([]);
    leader = leads ? LEADER : undefined;
    believed = leads ? A : B;
    resolve();
    const expected = leads ? { type: "done", value: 5 } : { type: "notLeader", leader: B };
    expect(await clock.settle(answer)).toStrictEqual(expected);
    expect(worked).toEqual(leads ? [LEADER] : []);
  }
  expect(campaigns).toBe(0);
});

test("a folder that does not vote but serves points to the leader that it serves, and tells no view", async () => {
  votes = false;
  serving = makeBallot(1, 1, view.members[1]!);
  believed = B;
  preferred = C;
  for (const urge of [false, true])
    expect(await run(urge)).toStrictEqual({ type: "notLeader", leader: B });
  expect(campaigns).toBe(0);
});

test("a folder that serves a leader who is gone, or its own that has stopped, tells the view", async () => {
  votes = false;
  serving = makeBallot(1, 1, view.members[1]!);
  for (const gone of [undefined, A]) {
    believed = gone;
    expect(await run()).toStrictEqual({ type: "notLeader", view });
  }
  expect(campaigns).toBe(0);
});

test("only who is urged, and does not lead, serves a leader no more that hands over", async () => {
  votes = false;
  await run();
  expect(abandoned).toEqual([]);
  await run(true);
  expect(abandoned).toEqual([SLICE]);
  leader = LEADER;
  await run(true);
  expect(abandoned).toEqual([SLICE]);
});

test("a folder that neither votes nor serves tells the view, and never campaigns", async () => {
  votes = false;
  believed = B;
  for (const urge of [false, true])
    expect(await run(urge)).toStrictEqual({ type: "notLeader", view });
  expect(campaigns).toBe(0);
});

test("one that votes points to whom it believes to lead, else to the preferred one", async () => {
  preferred = C;
  expect(await run()).toStrictEqual({ type: "notLeader", leader: C });
  believed = B;
  expect(await run()).toStrictEqual({ type: "notLeader", leader: B });
  expect(campaigns).toBe(0);
});

test("it campaigns when it is urged to, when it is the one to lead, and when nobody is known", async () => {
  win = () => (leader = LEADER);
  for (const [urge, other] of [
    [true, B] as const,
    [false, A] as const,
    [false, undefined] as const,
  ]) {
    leader = undefined;
    believed = other;
    campaigns = 0;
    worked = [];
    expect(await clock.settle(run(urge))).toStrictEqual({ type: "done", value: 5 });
    expect(campaigns).toBe(1);
    expect(worked).toEqual([LEADER]);
  }
});

test("after a lost campaign it points to the winner, never to itself", async () => {
  win = () => (believed = C);
  expect(await clock.settle(run(true))).toStrictEqual({ type: "notLeader", leader: C });
  win = () => (believed = A);
  expect(await clock.settle(run(true))).toStrictEqual({ type: "notLeader" });
  expect(campaigns).toBe(2);
  expect(worked).toEqual([]);
});

test("work whose leader is over is not done; any other failure is the caller's", async () => {
  leader = LEADER;
  const failWith = (error: Error): Promise<unknown> =>
    lead.run(SLICE, false, async () => {
      throw error;
    });
  expect(await failWith(new NotLeader("Another one leads"))).toStrictEqual({ type: "notLeader" });
  const refusal = new RingstowError("NoSuchKey");
  await expect(failWith(refusal)).rejects.toBe(refusal);
});

test("whether it leads is told at once: nobody campaigns or waits for that", () => {
  ending = new Promise(() => {});
  expect(lead.of(SLICE)).toStrictEqual({ type: "notLeader", view });
  leader = LEADER;
  expect(lead.of(SLICE)).toStrictEqual({ type: "done" });
  expect(campaigns).toBe(0);
});
