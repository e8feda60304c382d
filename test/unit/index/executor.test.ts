import { expect, test } from "vitest";
import { Executor, type LeaderReply } from "../../../node/index/executor.ts";
import { TransportError } from "../../../node/ports.ts";
import { type Member } from "../../../node/route/types.ts";
import { parseFolderId, parseNodeId, voterIdOf } from "../../../shared/ids.ts";
import { type Slice } from "../../../shared/slices.ts";
import { SeededChance } from "../../sim/seeded-chance.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";

const nodes = ["1", "2", "3"].map((digit) => parseNodeId(digit.repeat(32)));
const members = nodes.map((node) => voterIdOf(node, parseFolderId("0".repeat(16))));

/** Asks until the end of a script; tells with which `again` each attempt was made. */
async function againOf(
  script: readonly (LeaderReply<object> | TransportError)[],
): Promise<boolean[]> {
  const clock = new VirtualClock();
  const executor = new Executor({
    clock,
    chance: new SeededChance(1),
    route: {
      self: { id: nodes[0] } as Member,
      find: (id) => ({ id, state: "alive" }) as Member,
      observed: () => undefined,
    },
    viewOf: () => ({ epoch: 1, members }),
  });
  const seen: boolean[] = [];
  const asked = executor.ask(0 as Slice, async (_node, _urge, again) => {
    const step = script[seen.length]!;
    seen.push(again);
    if (step instanceof TransportError) throw step;
    return step;
  });
  await clock.settle(asked, { deadlineMs: 60_000 });
  return seen;
}

const elsewhere = { type: "notLeader" } as const;
const done = { type: "done" } as const;

test("Executor says that an attempt may be under way once one had no answer, and goes on saying so", async () => {
  const silent = new TransportError("timeout", "silent");
  expect(await againOf([elsewhere, silent, elsewhere, done])).toEqual([false, false, true, true]);
});

test("Executor does not say so when every member answered", async () => {
  expect(await againOf([elsewhere, { ...elsewhere, leader: nodes[1] }, done])).toEqual([
    false,
    false,
    false,
  ]);
});
