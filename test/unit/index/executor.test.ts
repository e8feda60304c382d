// How a coordinator finds the leader of a slice: order, pauses, and bounds.
import { describe, expect, test } from "vitest";
import { Executor, type LeaderReply } from "../../../node/index/executor.ts";
import { NotLeader } from "../../../node/index/quorum.ts";
import { TransportError } from "../../../node/ports.ts";
import { type Member, type MemberState } from "../../../node/route/types.ts";
import { RingstowError } from "../../../shared/errors.ts";
import {
  type NodeId,
  nodeOfVoter,
  parseFolderId,
  parseNodeId,
  voterIdOf,
} from "../../../shared/ids.ts";
import {
  callTimeoutMs,
  memberSilentMs,
  operationDeadlineMs,
  signOfLifeAfterMs,
  signOfLifeMs,
} from "../../../shared/limits.ts";
import { type Slice } from "../../../shared/slices.ts";
import { SeededChance } from "../../sim/seeded-chance.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";
import { fixedView } from "./fixed-view.ts";

const voters = ["1", "2", "3"].map((digit) =>
  voterIdOf(parseNodeId(digit.repeat(32)), parseFolderId(digit.repeat(16))),
);
const [A, B, C] = voters.map(nodeOfVoter) as [NodeId, NodeId, NodeId];
const SLICE = 1 as Slice;
type Reply = LeaderReply<{ by: string }>;
type Answer = (urge: boolean, again: boolean) => Reply | Promise<Reply>;

class Bench {
  readonly clock = new VirtualClock();
  readonly asked: { node: NodeId; urge: boolean; again: boolean; atMs: number }[] = [];
  readonly states = new Map<NodeId, MemberState>();
  readonly unreachable = new Set<NodeId>();
  /** Who says, when asked, that it leads the slice. */
  readonly leading = new Set<NodeId>();
  readonly askedForLead: NodeId[] = [];
  readonly executor = new Executor({
    clock: this.clock,
    chance: new SeededChance(1),
    route: {
      self: { id: A } as Member,
      find: (id) => ({ id, state: this.states.get(id) ?? "alive" }) as Member,
      observed: () => {},
      reaches: async (id, timeoutMs) => {
        const reached = !this.unreachable.has(id);
        await this.clock.sleep(reached ? 1 : timeoutMs);
        return reached;
      },
    },
    views: fixedView({ epoch: 1, members: voters }),
    leads: async (node) => {
      this.askedForLead.push(node);
      await this.clock.sleep(1);
      if (this.unreachable.has(node)) throw new TransportError("timeout", "silent");
      return this.leading.has(node) ? { type: "done" } : { type: "notLeader" };
    },
  });

  ask(answers: Partial<Record<string, Answer>>): Promise<{ by: string }> {
    const work = this.executor.ask<{ by: string }>(SLICE, async (node, urge, again) => {
      this.asked.push({ node, urge, again, atMs: this.clock.now });
      await this.clock.sleep(1);
      return answers[node]!(urge, again);
    });
    return this.clock.settle(work, { deadlineMs: this.clock.now + 120_000 });
  }

  order(): NodeId[] {
    return this.asked.map(({ node }) => node);
  }
}

const done =
  (by: string): Answer =>
  () => ({ type: "done", by });
const pointsAt =
  (leader?: NodeId): Answer =>
  () => ({ type: "notLeader", leader });
const silent: Answer = () => {
  throw new TransportError("timeout", "silent");
};

describe("Executor", () => {
  test("asks the first member, follows its pointer, and remembers who answered", async () => {
    const bench = new Bench();
    const answers = { [A]: pointsAt(C), [C]: done("C") };
    expect((await bench.ask(answers)).by).toBe("C");
    expect(bench.executor.hint(SLICE)).toBe(C);
    await bench.ask(answers);
    expect(bench.order()).toEqual([A, C, C]);
  });

  test("goes to the next member at once when one does not answer, and urges it", async () => {
    const bench = new Bench();
    expect((await bench.ask({ [A]: silent, [B]: done("B") })).by).toBe("B");
    expect(bench.asked.map(({ urge, again }) => [urge, again])).toEqual([
      [false, false],
      [true, true],
    ]);
    expect(bench.clock.now).toBe(2);
  });

  test("asks another member when one knows of no leader, and that one anew when none does", async () => {
    const bench = new Bench();
    let looks = 0;
    const answers = {
      [A]: pointsAt(),
      [B]: pointsAt(),
      [C]: () => (++looks === 1 ? pointsAt() : done("C"))(false, false),
    };
    expect((await bench.ask(answers)).by).toBe("C");
    expect(bench.order()).toEqual([A, B, C, A, B, C]);
    expect(bench.asked.some(({ urge, again }) => urge || again)).toBe(false);
  });

  // Early in a view nobody knows who leads; the first who does is followed at once, however many were asked before.
  test("follows a pointer without a pause after members that knew of no leader", async () => {
    const bench = new Bench();
    let looks = 0;
    const answers = {
      [A]: () => (++looks === 1 ? pointsAt() : pointsAt(C))(false, false),
      [B]: pointsAt(),
      [C]: () => (looks === 1 ? pointsAt() : done("C"))(false, false),
    };
    expect((await bench.ask(answers)).by).toBe("C");
    expect(bench.order()).toEqual([A, B, C, A, C]);
    expect(bench.asked[4]!.atMs).toBe(bench.asked[3]!.atMs + 1);
  });

  test("passes over members that are known to be dead", async () => {
    const bench = new Bench();
    bench.states.set(A, "dead");
    await bench.ask({ [B]: done("B") });
    expect(bench.order()).toEqual([B]);
  });

  test("a refusal is an answer: it is not asked again", async () => {
    const bench = new Bench();
    const refuse: Answer = () => {
      throw new RingstowError("PreconditionFailed");
    };
    await expect(bench.ask({ [A]: refuse })).rejects.toMatchObject({ code: "PreconditionFailed" });
    expect(bench.asked).toHaveLength(1);
  });

  test.each<[string, Record<string, Answer>]>([
    ["members point at each other", { [A]: pointsAt(B), [B]: pointsAt(A), [C]: pointsAt(A) }],
    ["members point at themselves", { [A]: pointsAt(A), [B]: pointsAt(B), [C]: pointsAt(C) }],
    ["nobody knows a leader", { [A]: pointsAt(), [B]: pointsAt(), [C]: pointsAt() }],
    ["nobody answers", { [A]: silent, [B]: silent, [C]: silent }],
    [
      "a leader loses its lead each time",
      {
        [A]: () => {
          throw new NotLeader("lost");
        },
      },
    ],
  ])("does not spin, and ends with Unavailable in bounded time: %s", async (_, answers) => {
    const bench = new Bench();
    await expect(bench.ask(answers)).rejects.toMatchObject({ code: "Unavailable" });
    expect(bench.clock.now).toBeGreaterThanOrEqual(operationDeadlineMs);
    expect(bench.clock.now).toBeLessThan(operationDeadlineMs + 2_000);
    expect(bench.asked.length).toBeLessThan(400);
  });

  test("gives up within a second when a majority gives no sign of life, and sooner when that is known", async () => {
    const bench = new Bench();
    bench.unreachable.add(B).add(C);
    const answers = { [A]: pointsAt(), [B]: silent, [C]: silent };
    await expect(bench.ask(answers)).rejects.toMatchObject({ code: "Unavailable" });
    expect(bench.clock.now).toBeGreaterThanOrEqual(signOfLifeAfterMs + memberSilentMs);
    expect(bench.clock.now).toBeLessThan(signOfLifeAfterMs + memberSilentMs + 10);
    const againAt = bench.clock.now;
    await expect(bench.ask(answers)).rejects.toMatchObject({ code: "Unavailable" });
    expect(bench.clock.now - againAt).toBe(signOfLifeMs);
    await bench.clock.runFor(1_000); // what was under way ends
    const asked = bench.asked.length;
    await bench.clock.runFor(30_000);
    expect(bench.asked).toHaveLength(asked);
  });

  test("gives up although the call under way has no end in sight", async () => {
    const bench = new Bench();
    bench.unreachable.add(A).add(B).add(C);
    const work = bench.executor.ask(SLICE, () => new Promise<never>(() => undefined));
    const ended = bench.clock.settle(work, { deadlineMs: bench.clock.now + 5_000 });
    await expect(ended).rejects.toMatchObject({ code: "Unavailable" });
  });

  test("leaves a silent leader before its call times out, and one that is only slow not", async () => {
    const bench = new Bench();
    const never: Answer = async () => {
      await bench.clock.sleep(60_000);
      return { type: "done", by: "B" };
    };
    const takesOver: Answer = (urge) =>
      urge ? { type: "done", by: "A" } : { type: "notLeader", leader: B };
    bench.unreachable.add(B);
    expect((await bench.ask({ [A]: takesOver, [B]: never })).by).toBe("A");
    expect(bench.clock.now).toBeLessThan(1_200);
    const slow = new Bench();
    const late: Answer = async () => {
      await slow.clock.sleep(10_000);
      return { type: "done", by: "A" };
    };
    expect((await slow.ask({ [A]: late })).by).toBe("A");
  });

  test("goes to another member that leads 300 ms after the first was asked, and campaigns for none", async () => {
    const bench = new Bench();
    bench.unreachable.add(A);
    bench.leading.add(C);
    const never: Answer = () => new Promise(() => undefined);
    expect((await bench.ask({ [A]: never, [C]: done("C") })).by).toBe("C");
    // 1 ms for the question, 1 ms for the operation.
    expect(bench.clock.now).toBe(callTimeoutMs + 2);
    expect(bench.asked.map(({ node, urge, again }) => [node, urge, again])).toEqual([
      [A, false, false],
      [C, false, true],
    ]);
    expect(bench.executor.hint(SLICE)).toBe(C);
  });

  test("a slow leader that nobody else claims to be is waited for, whatever the others are asked", async () => {
    const bench = new Bench();
    const slow: Answer = async () => {
      await bench.clock.sleep(1_200);
      return { type: "done", by: "A" };
    };
    expect((await bench.ask({ [A]: slow })).by).toBe("A");
    expect(bench.order()).toEqual([A]);
    // Every 300 ms, and never the one that is waited for.
    expect(bench.askedForLead).toEqual([B, C, B, C, B, C]);
  });

  test("those who wait for one member share the question who leads", async () => {
    const bench = new Bench();
    const slow: Answer = async () => {
      await bench.clock.sleep(400);
      return { type: "done", by: "A" };
    };
    await Promise.all(Array.from({ length: 20 }, () => bench.ask({ [A]: slow })));
    expect(bench.askedForLead).toEqual([B, C]);
  });

  test("an answer that comes before anybody claims the lead counts", async () => {
    const bench = new Bench();
    bench.leading.add(C);
    const slow: Answer = async () => {
      await bench.clock.sleep(callTimeoutMs - 2);
      return { type: "done", by: "A" };
    };
    expect((await bench.ask({ [A]: slow })).by).toBe("A");
    expect(bench.askedForLead).toEqual([]);
  });

  test("waits for an election among members that can be heard", async () => {
    const bench = new Bench();
    bench.unreachable.add(A);
    let electedAtMs = Number.POSITIVE_INFINITY;
    void bench.clock.after(5_000, () => (electedAtMs = bench.clock.now));
    const elected: Answer = () =>
      bench.clock.now >= electedAtMs ? { type: "done", by: "B" } : { type: "notLeader" };
    const answers = { [A]: silent, [B]: elected, [C]: pointsAt(B) };
    expect((await bench.ask(answers)).by).toBe("B");
    expect(bench.clock.now).toBeGreaterThanOrEqual(5_000);
  });

  test("a majority that can be heard again is waited for", async () => {
    const bench = new Bench();
    bench.unreachable.add(B).add(C);
    const away = { [A]: pointsAt(), [B]: silent, [C]: silent };
    await expect(bench.ask(away)).rejects.toMatchObject({ code: "Unavailable" });
    bench.unreachable.clear();
    let asked = 0;
    const late: Answer = () => (++asked > 3 ? { type: "done", by: "A" } : { type: "notLeader" });
    const answers = { [A]: late, [B]: pointsAt(), [C]: pointsAt() };
    expect((await bench.ask(answers)).by).toBe("A");
  });

  test("does not follow a pointer to a member that just did not answer", async () => {
    const bench = new Bench();
    let asked = 0;
    const takesOver: Answer = (urge) =>
      ++asked > 1 && urge ? { type: "done", by: "B" } : { type: "notLeader", leader: A };
    expect((await bench.ask({ [A]: silent, [B]: takesOver, [C]: pointsAt(A) })).by).toBe("B");
    expect(bench.order().filter((node) => node === A)).toHaveLength(1);
  });
});
