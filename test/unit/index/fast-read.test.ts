// The rule of reads without a leader, as a table and over members that answer or not.
import { describe, expect, test } from "vitest";
import { fastRead, mayAnswer, readOrder } from "../../../node/index/fast-read.ts";
import { type MemberLink } from "../../../node/index/member-link.ts";
import { ReplyTimes } from "../../../node/index/reply-times.ts";
import { TransportError } from "../../../node/ports.ts";
import { type Member } from "../../../node/route/types.ts";
import { type VoterId, nodeOfVoter, parseFolderId, parseNodeId } from "../../../shared/ids.ts";
import { voterIdOf } from "../../../shared/ids.ts";
import { type Want } from "../../../shared/protocol/index-calls.ts";
import { type Slice } from "../../../shared/slices.ts";
import { NO_VERSION, type Version, makeBallot, makeVersion } from "../../../shared/versions.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";
import { fixedView } from "./fixed-view.ts";

const voters = ["1", "2", "3"].map((digit) =>
  voterIdOf(parseNodeId(digit.repeat(32)), parseFolderId(digit.repeat(16))),
);
const of = (epoch: number, sequence = 1): Version =>
  makeVersion(makeBallot(epoch, 1, voters[0]!), sequence);

describe("mayAnswer", () => {
  test.each([
    ["a majority, version of this epoch", of(2), 2, true],
    ["a minority, version of this epoch", of(2), 1, false],
    ["a majority, version of an older epoch", of(1), 2, false],
    ["all, version of an older epoch", of(1), 3, true],
    ["a majority, never written", NO_VERSION, 2, true],
    ["a minority, never written", NO_VERSION, 1, false],
  ])("%s", (_, version, count, expected) => {
    expect(mayAnswer(version, 2, count, 3)).toBe(expected);
  });

  test("one member of one is all", () => {
    expect(mayAnswer(of(1), 2, 1, 1)).toBe(true);
  });
});

type Answer = { version: Version; epoch?: number; outsider?: boolean } | "silent" | "refuses";

async function read(answers: Answer[], delayMs = 1) {
  const clock = new VirtualClock();
  const asked: { member: number; want: Want }[] = [];
  const link = {
    self: voters[0]!,
    readFast: async (voter: VoterId, _: Slice, key: string, want: Want) => {
      const member = voters.indexOf(voter);
      asked.push({ member, want });
      const answer = answers[member]!;
      await clock.sleep(answer === "silent" ? 300 : delayMs);
      if (answer === "silent") throw new TransportError("timeout", "silent");
      if (answer === "refuses")
        return { ok: false, reason: "epoch", promised: "", epoch: 1 } as const;
      const { version, epoch = 1, outsider = false } = answer;
      const value = want === "version" ? {} : { value: `by ${member}` };
      const members = voters.filter((one) => !outsider || one !== voter);
      return { ok: true, epoch, members, register: { key, version, ...value } };
    },
  } as unknown as MemberLink;
  const view = { epoch: 1, members: voters };
  const replyTimes = new ReplyTimes();
  const register = await clock.settle(
    fastRead(
      { link, clock, route: { find: () => undefined }, views: fixedView(view), replyTimes },
      0 as Slice,
      "k",
      false,
    ),
    { deadlineMs: 10_000 },
  );
  return { register, asked, ms: clock.now };
}

describe("fastRead", () => {
  test("asks a majority, one for the value and one for the version", async () => {
    const { register, asked, ms } = await read([{ version: of(1) }, { version: of(1) }, "silent"]);
    expect(register).toEqual({ key: "k", version: of(1), value: "by 0" });
    expect(asked).toEqual([
      { member: 0, want: "value" },
      { member: 1, want: "version" },
    ]);
    expect(ms).toBe(1);
  });

  test.each<[string, Answer]>([
    ["fails", "silent"],
    ["refuses", "refuses"],
    ["is of another epoch", { version: of(1), epoch: 2 }],
    ["does not count itself among the members", { version: of(1), outsider: true }],
  ])("asks the third when one %s", async (_, first) => {
    const { register, asked } = await read([first, { version: of(1) }, { version: of(1) }]);
    expect(register?.value).toBe("by 2");
    expect(asked.at(-1)).toEqual({ member: 2, want: "value" });
  });

  test("hedges to the third when one is slow", async () => {
    const { register, ms } = await read([{ version: of(1) }, "silent", { version: of(1) }]);
    expect(register?.version).toBe(of(1));
    expect(ms).toBeLessThan(50);
  });

  test.each<[string, Answer[]]>([
    ["two versions and a silent third", [{ version: of(1, 2) }, { version: of(1, 1) }, "silent"]],
    ["one answer", [{ version: of(1) }, "silent", "refuses"]],
    ["no answer", ["silent", "silent", "silent"]],
  ])("leaves it to the leader: %s", async (_, answers) => {
    expect((await read(answers)).register).toBeUndefined();
  });

  test("never written is an answer", async () => {
    const none = { version: NO_VERSION };
    expect((await read([none, none, none])).register?.version).toBe(NO_VERSION);
  });
});

test("readOrder puts this node first, then live ones, then the rest", () => {
  const dead = nodeOfVoter(voters[0]!);
  const route = {
    find: (id: string) => ({ state: id === dead ? "dead" : "alive" }) as Member,
  };
  const view = { epoch: 1, members: voters };
  expect(readOrder(view, voters[2]!, route)).toEqual([voters[2], voters[1], voters[0]]);
});
