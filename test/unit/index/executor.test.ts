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
import { operationDeadlineMs } from "../../../shared/limits.ts";
import { type Slice } from "../../../shared/slices.ts";
import { SeededChance } from "../../sim/seeded-chance.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";

const voters = ["1", "2", "3"].map((digit) =>
  voterIdOf(parseNodeId(digit.repeat(32)), parseFolderId(digit.repeat(16))),
);
const [A, B, C] = voters.map(nodeOfVoter) as [NodeId, NodeId, NodeId];
const SLICE = 1 as Slice;
type Answer = (urge: boolean, again: boolean) => LeaderReply<{ by: string }>;

class Bench {
  readonly clock = new VirtualClock();
  readonly asked: { node: NodeId; urge: boolean; again: boolean; atMs: number }[] = [];
  readonly states = new Map<NodeId, MemberState>();
  readonly executor = new Executor({
    clock: this.clock,
    chance: new SeededChance(1),
    route: {
      self: { id: A } as Member,
      find: (id) => ({ id, state: this.states.get(id) ?? "alive" }) as Member,
      observed: () => {},
    },
    viewOf: () => ({ epoch: 1, members: voters }),
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

  test("does not follow a pointer to a member that just did not answer", async () => {
    const bench = new Bench();
    let asked = 0;
    const takesOver: Answer = (urge) =>
      ++asked > 1 && urge ? { type: "done", by: "B" } : { type: "notLeader", leader: A };
    expect((await bench.ask({ [A]: silent, [B]: takesOver, [C]: pointsAt(A) })).by).toBe("B");
    expect(bench.order().filter((node) => node === A)).toHaveLength(1);
  });
});
