// Which slices an operator's order brings back with the members that are left.
import { expect, test } from "vitest";
import { recoveryOf } from "../../../node/index/unsafe-recovery.ts";
import { type SliceMode } from "../../../node/index/slice-state.ts";
import {
  type NodeId,
  nodeOfVoter,
  parseFolderId,
  parseNodeId,
  voterIdOf,
} from "../../../shared/ids.ts";
import { type Slice } from "../../../shared/slices.ts";

const [A, B, C] = ["1", "2", "3"].map((digit) =>
  voterIdOf(parseNodeId(digit.repeat(32)), parseFolderId(digit.repeat(16))),
);
const view = { epoch: 7, members: [A!, B!, C!] };
const node = (voter: string | undefined): NodeId => nodeOfVoter(voter as never);

interface Case {
  readonly lost: readonly (string | undefined)[];
  readonly mode?: SliceMode;
  /** The latest epoch that this node knows of. */
  readonly known?: number;
}

function recovery({ lost, mode = "active", known = 7 }: Case) {
  const standing = { view, previous: undefined, mode, forward: undefined, joining: undefined };
  return recoveryOf(
    { standing: () => standing },
    { viewOf: () => ({ epoch: known, members: [B!] }) },
    A!,
    1 as Slice,
    new Set(lost.map(node)),
  );
}

test("recoveryOf goes on with the first member that is left, far above all epochs that may be", () => {
  expect(recovery({ lost: [B, C] })).toEqual({
    view: { epoch: 7 + 65_536, members: [A] },
    previous: { epoch: 7, members: [A] },
  });
});

test.each<[string, Case]>([
  ["a majority is left", { lost: [B] }],
  ["this folder is among the lost", { lost: [A, B] }],
  ["this folder does not vote any more", { lost: [B, C], mode: "sealed" }],
  ["the slice has gone on to a later view", { lost: [B, C], known: 8 }],
])("recoveryOf does nothing when %s", (_what, given) => {
  expect(recovery(given)).toBeUndefined();
});
