// Campaigns: whom a silent member may delay, and what a campaign that ends late may touch.
import { describe, expect, test } from "vitest";
import { type Election, Elections } from "../../../node/index/elections.ts";
import { type Claim, type MemberLink } from "../../../node/index/member-link.ts";
import { Replica } from "../../../node/index/replica.ts";
import { type PrepareReply } from "../../../node/index/replica-replies.ts";
import { metaRow } from "../../../node/index/rows.ts";
import { ViewReplica } from "../../../node/index/view-replica.ts";
import { silentLog } from "../../../node/runtime/json-log.ts";
import { MemoryDisk, openMemoryStore } from "../../../node/runtime/memory-store.ts";
import { type Store, TransportError } from "../../../node/ports.ts";
import { type Member } from "../../../node/route/types.ts";
import {
  type VoterId,
  nodeOfVoter,
  parseFolderId,
  parseNodeId,
  parseRequestId,
  voterIdOf,
} from "../../../shared/ids.ts";
import { campaignBatchMax, prepareTimeoutMs } from "../../../shared/limits.ts";
import { type Slice } from "../../../shared/slices.ts";
import { type Ballot, makeBallot } from "../../../shared/versions.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";

const voters = ["1", "2", "3"].map((digit) =>
  voterIdOf(parseNodeId(digit.repeat(32)), parseFolderId(digit.repeat(16))),
);
const me = voters[0]!;
const SLICE = 5 as Slice;

class Bench {
  readonly clock = new VirtualClock();
  readonly disk = new MemoryDisk();
  readonly prepared: { member: VoterId; claims: Claim[] }[] = [];
  readonly errors: string[] = [];
  readonly behind: VoterId[] = [];
  /** What the members of each leader's majority named. */
  readonly named: Election["names"][] = [];
  readonly store: Store;
  readonly replica: Replica;
  readonly elections: Elections;
  /** How a member answers a PREPARE, and after how long; undefined: never in time. */
  answer: (member: VoterId) => { afterMs: number; reply: PrepareReply } | undefined = () => ({
    afterMs: 1,
    reply: { ok: true, keys: [] },
  });

  constructor(slices = 16) {
    const store = openMemoryStore(this.disk, this.clock, { syncMs: 1 });
    this.store = store;
    const view = { epoch: 1, members: voters };
    this.replica = new Replica({ store, voter: me, viewOf: () => view });
    const link: Partial<MemberLink> = {
      self: me,
      prepare: async (member, claims) => {
        this.prepared.push({ member, claims });
        const answer = this.answer(member);
        await this.clock.sleep(answer?.afterMs ?? prepareTimeoutMs);
        if (!answer) throw new TransportError("timeout", "silent");
        return claims.map(() => answer.reply);
      },
      names: () => Promise.reject(new TransportError("timeout", "silent")),
    };
    this.elections = new Elections({
      replica: this.replica,
      link: link as MemberLink,
      route: { live: () => [], find: (id) => ({ id, state: "alive" }) as Member },
      clock: this.clock,
      log: { ...silentLog, error: (event) => void this.errors.push(event) },
      newRequestId: () => parseRequestId("0".repeat(32)),
      slices,
      onMissed: () => {},
      onElected: (_leader, { names }) => void this.named.push(names),
      onBehind: (_slice, _view, member) => void this.behind.push(member),
    });
  }

  campaign(slice = SLICE): Promise<void> {
    return this.clock.settle(this.elections.campaign(slice), { deadlineMs: 60_000 });
  }
}

describe("Elections", () => {
  test("a majority of promises makes a leader, one short of it does not", async () => {
    const bench = new Bench();
    await bench.campaign();
    expect(bench.elections.leaderOf(SLICE)?.ballot).toBe(makeBallot(1, 1, me));
    const other = new Bench();
    other.answer = () => undefined;
    await other.campaign();
    expect(other.elections.leaderOf(SLICE)).toBeUndefined();
  });

  test("the own promise is durable before any other member is asked", async () => {
    const bench = new Bench();
    void bench.elections.campaign(SLICE);
    await bench.clock.drain();
    expect(bench.prepared).toEqual([]);
    expect(bench.store.get(metaRow(SLICE))).toBeUndefined();
    await bench.clock.runFor(1);
    expect(bench.store.get(metaRow(SLICE))).toBeDefined();
    expect(bench.prepared).toHaveLength(2);
  });

  test("campaigns of one turn share a message, and a silent member delays none of any batch", async () => {
    const count = campaignBatchMax * 2 + 1;
    const bench = new Bench(count);
    bench.answer = (member) =>
      member === voters[2] ? undefined : { afterMs: 1, reply: { ok: true, keys: [] } };
    const all = Array.from({ length: count }, (_, slice) =>
      bench.elections.campaign(slice as Slice),
    );
    await bench.clock.settle(Promise.all(all), { deadlineMs: 60_000 });
    expect(bench.clock.now).toBeLessThan(prepareTimeoutMs / 2);
    expect(bench.elections.led).toBe(count);
    expect(bench.prepared).toHaveLength(2 * 3);
  });

  test("a refusal teaches the round, and the next campaign goes above it", async () => {
    const bench = new Bench();
    const promised = makeBallot(1, 7, voters[1]!);
    bench.answer = () => ({
      afterMs: 1,
      reply: { ok: false, reason: "promised", promised, epoch: 1 },
    });
    await bench.campaign();
    expect(bench.elections.leaderOf(SLICE)).toBeUndefined();
    bench.answer = () => ({ afterMs: 1, reply: { ok: true, keys: [] } });
    await bench.campaign();
    expect(bench.elections.leaderOf(SLICE)?.ballot).toBe(makeBallot(1, 8, me));
  });

  test("a member that is not active in the view is told of once there is a leader, early or late, or there can be none", async () => {
    const missing: PrepareReply = { ok: false, reason: "epoch", promised: "" as Ballot, epoch: 0 };
    for (const afterMs of [1, 50]) {
      const bench = new Bench();
      const { answer } = bench;
      bench.answer = (member) =>
        member === voters[2] ? { afterMs, reply: missing } : { ...answer(member)!, afterMs: 10 };
      await bench.campaign();
      await bench.clock.runFor(100);
      expect(bench.behind).toEqual([voters[2]]);
    }
    const lost = new Bench();
    lost.answer = (member) => (member === voters[1] ? undefined : { afterMs: 1, reply: missing });
    await lost.campaign();
    await lost.clock.runFor(prepareTimeoutMs);
    expect(lost.elections.led).toBe(0);
    expect(lost.behind).toEqual([voters[2]]);
  });

  test("a leader whose own member promised a higher ballot is over", async () => {
    const bench = new Bench();
    await bench.campaign();
    const leader = bench.elections.leaderOf(SLICE)!;
    void bench.replica.prepare([{ slice: SLICE, ballot: makeBallot(1, 2, voters[1]!) }]);
    expect(bench.elections.leaderOf(SLICE)).toBeUndefined();
    expect(leader.deposed).toBe(true);
    expect(bench.elections.believedLeader(SLICE)).toBe(nodeOfVoter(voters[1]!));
  });

  test("a campaign whose last answer comes late does not end the slice's next one", async () => {
    const bench = new Bench();
    bench.answer = (member) =>
      member === voters[2] ? undefined : { afterMs: 1, reply: { ok: true, keys: [] } };
    await bench.campaign();
    bench.elections.leaderOf(SLICE)!.depose();
    await bench.clock.runFor(prepareTimeoutMs - bench.clock.now - 10);
    bench.answer = () => ({ afterMs: 50, reply: { ok: true, keys: [] } });
    await bench.campaign();
    expect(bench.elections.leaderOf(SLICE)).toBeDefined();
  });

  test("a campaign on a store that is closed ends, with a line in the log", async () => {
    const bench = new Bench();
    bench.disk.powerLoss();
    await bench.elections.campaign(SLICE);
    expect(bench.errors).toEqual(["Cannot campaign"]);
    expect(bench.elections.leaderOf(SLICE)).toBeUndefined();
  });

  test("the first live member campaigns by duty for slices that nobody leads, and stops when stopped", async () => {
    const bench = new Bench();
    bench.elections.start();
    await bench.clock.runFor(1_500);
    expect(bench.elections.led).toBe(16);
    bench.elections.stop();
    expect(bench.elections.led).toBe(0);
    const asked = bench.prepared.length;
    await bench.clock.runFor(5_000);
    expect(bench.prepared).toHaveLength(asked);
  });

  describe("inherit", () => {
    const ballot = makeBallot(2, 1, me);

    /** The folder has become active in the view of epoch 2, whose first member it is. */
    async function inNewView(): Promise<Bench> {
      const bench = new Bench();
      const { states } = bench.replica;
      const standings = new ViewReplica({ states, onSealed: () => {} });
      const view = (epoch: number) => ({ epoch, members: voters });
      const change = { view: view(2), previous: view(1) };
      const begin = async (): Promise<void> => {
        await standings.install(SLICE, change);
        await standings.activate(SLICE, change);
      };
      await bench.clock.settle(begin(), { deadlineMs: 1_000 });
      return bench;
    }

    test("leads without a question by a majority's promises, its own among them, and names what they name", async () => {
      const bench = await inNewView();
      const { elections } = bench;
      expect(elections.inherit(SLICE, ballot, new Map([[me, []]]))).toBe(false);
      const others = voters.slice(1).map((voter): [VoterId, string[]] => [voter, []]);
      expect(elections.inherit(SLICE, ballot, new Map(others))).toBe(false);
      const promises = new Map([
        [me, ["a"]],
        [voters[1]!, ["b"]],
      ]);
      expect(elections.inherit(SLICE, ballot, promises)).toBe(true);
      expect(elections.leaderOf(SLICE)?.ballot).toBe(ballot);
      expect(bench.prepared).toEqual([]);
      expect(bench.named).toEqual([new Set(["a", "b"])]);
    });

    test("a late word of an earlier view makes no leader, although that view's leader hands over here", async () => {
      const bench = await inNewView();
      const { elections, replica } = bench;
      const standings = new ViewReplica({ states: replica.states, onSealed: () => {} });
      const view = (epoch: number) => ({ epoch, members: voters });
      const change = { view: view(3), previous: view(2) };
      const hand = async (): Promise<void> => {
        expect(await standings.enter(SLICE, change, ballot)).toBe(true);
        await standings.activate(SLICE, standings.standing(SLICE).joining!);
      };
      await bench.clock.settle(hand(), { deadlineMs: 1_000 });
      expect(replica.mayLead(SLICE, ballot)).toBe(true);
      const promises = new Map(voters.map((voter) => [voter, []]));
      expect(elections.inherit(SLICE, ballot, promises)).toBe(false);
      expect(elections.inherit(SLICE, makeBallot(3, 1, me), promises)).toBe(true);
    });

    test("a ballot serves for one leader, when promises come in two ways too", async () => {
      const bench = await inNewView();
      const { elections } = bench;
      const promises = new Map(voters.map((voter) => [voter, []]));
      const campaign = elections.campaign(SLICE);
      await bench.clock.runFor(0);
      expect(bench.prepared[0]!.claims[0]!.ballot).toBe(ballot);
      expect(elections.inherit(SLICE, ballot, promises)).toBe(true);
      const leader = elections.leaderOf(SLICE);
      const inheritedMs = bench.clock.now;
      await bench.clock.settle(campaign, { deadlineMs: 60_000 });
      expect(bench.clock.now, "nobody waits for the campaign any more").toBe(inheritedMs);
      await bench.clock.runFor(prepareTimeoutMs);
      expect(elections.leaderOf(SLICE)).toBe(leader);
      leader!.depose();
      expect(elections.inherit(SLICE, ballot, promises)).toBe(false);
      await bench.campaign();
      expect(elections.leaderOf(SLICE)?.ballot).toBe(makeBallot(2, 2, me));
    });

    test("not when its own member has promised more", async () => {
      const bench = await inNewView();
      const promised = (): Promise<unknown> =>
        bench.clock.settle(bench.replica.inheritedPromise(SLICE, ballot), { deadlineMs: 1_000 });
      for (const _ of [1, 2]) expect(await promised()).toEqual({ keys: [] });
      const higher = makeBallot(2, 2, voters[1]!);
      const preparing = bench.replica.prepare([{ slice: SLICE, ballot: higher }]);
      const promises = new Map(voters.map((voter) => [voter, []]));
      expect(bench.elections.inherit(SLICE, ballot, promises)).toBe(false);
      await bench.clock.settle(preparing, { deadlineMs: 1_000 });
      expect(await promised()).toBeUndefined();
      expect(bench.elections.led).toBe(0);
    });
  });
});
