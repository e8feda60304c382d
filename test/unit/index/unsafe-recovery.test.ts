// Who takes over a slice by an operator's order, and from whom, by what those who are left say that they are.
import { expect, test } from "vitest";
import { type Part, recoveryOf } from "../../../node/index/unsafe-recovery.ts";
import { type KnownView } from "../../../node/index/views.ts";
import { type VoterId, parseFolderId, parseNodeId, voterIdOf } from "../../../shared/ids.ts";

const [A, B, C, D, E, F] = ["1", "2", "3", "4", "5", "6"].map((digit) =>
  voterIdOf(parseNodeId(digit.repeat(32)), parseFolderId(digit.repeat(16))),
) as [VoterId, VoterId, VoterId, VoterId, VoterId, VoterId];

type Answers = readonly (readonly [VoterId, Part])[];
const before = { epoch: 7, members: [A, B, C] };
/** C is replaced by D. */
const view: KnownView = { epoch: 8, members: [A, B, D], previous: before };
const recovery = (newest: KnownView, answers: Answers) => recoveryOf(newest, new Map(answers));

test.each<[string, Answers]>([
  [
    "a majority of the newest view is left, and one is active",
    [
      [A, "active"],
      [B, "none"],
      [C, "sealed"],
    ],
  ],
  [
    "a majority holds what those who join it need",
    [
      [A, "sealed"],
      [C, "sealed"],
      [D, "none"],
    ],
  ],
  [
    "some of them never took part",
    [
      [A, "empty"],
      [C, "sealed"],
      [D, "none"],
    ],
  ],
])("a slice goes on by itself where %s", (_what, answers) => {
  expect(recovery(view, answers)).toBeUndefined();
});

test.each<[string, Answers, VoterId | undefined, KnownView]>([
  [
    "the only active member",
    [
      [D, "active"],
      [C, "sealed"],
    ],
    D,
    { epoch: 8, members: [D] },
  ],
  [
    "who holds the view before",
    [
      [A, "sealed"],
      [D, "none"],
    ],
    A,
    { epoch: 7, members: [A] },
  ],
  [
    "who was not told to give it up",
    [
      [A, "sealed"],
      [C, "none"],
    ],
    A,
    { epoch: 7, members: [A] },
  ],
  [
    "the first who holds it",
    [
      [A, "none"],
      [C, "sealed"],
      [D, "none"],
    ],
    C,
    { epoch: 7, members: [C] },
  ],
  ["who left it, when nobody else is there", [[C, "sealed"]], C, { epoch: 7, members: [C] }],
  [
    "who was about to join",
    [
      [B, "none"],
      [D, "none"],
    ],
    B,
    { epoch: 7, members: [] },
  ],
  [
    "who took some of it",
    [
      [C, "joining"],
      [D, "none"],
    ],
    C,
    { epoch: 7, members: [] },
  ],
  ["anybody, when nobody holds it", [[C, "none"]], undefined, { epoch: 7, members: [] }],
])("%s takes over", (_what, answers, by, from) => {
  expect(recovery(view, answers)).toEqual({ by, from });
});

test("of five, two that are active go on together, the first of them", () => {
  const five = { epoch: 3, members: [A, B, C, D, E] };
  const answers: Answers = [
    [B, "none"],
    [C, "active"],
    [E, "active"],
  ];
  expect(recovery(five, answers.slice(1))).toEqual({ by: C, from: { epoch: 3, members: [C, E] } });
  expect(recovery(five, answers)).toBeUndefined();
});

test("where all of the newest view are lost, a majority of the one before answers for all of it", () => {
  const answers: Answers = [
    [A, "empty"],
    [B, "sealed"],
    [C, "sealed"],
  ];
  const newest = { epoch: 8, members: [D, E, F], previous: before };
  expect(recovery(newest, answers)).toEqual({ by: B, from: before });
});

test("a view of which nobody is left, and whose predecessor nobody knows, begins with nothing", () => {
  expect(recovery({ epoch: 8, members: [D, E, F] }, [])).toEqual({
    by: undefined,
    from: { epoch: 8, members: [] },
  });
});

test.each<[string, Answers]>([
  [
    "somebody has joined what it can join yet",
    [
      [A, "sealed"],
      [B, "joining"],
    ],
  ],
  [
    "who is left of the newest view has joined it",
    [
      [B, "sealed"],
      [C, "sealed"],
    ],
  ],
])("nobody takes over before %s", (_what, answers) => {
  expect(recovery(view, answers)).toBe("later");
});
