// What breaks the invariants of votes in views is seen on the wire, and nothing else is.
import { beforeEach, expect, test } from "vitest";
import { type ViewChange } from "../../node/index/views.ts";
import { parseFolderId, parseNodeId, voterIdOf } from "../../shared/ids.ts";
import { type Slice } from "../../shared/slices.ts";
import { makeBallot } from "../../shared/versions.ts";
import { ViewsSeen } from "./views-seen.ts";

const slice = 3 as Slice;
const voter = (digit: string) =>
  voterIdOf(parseNodeId(digit.repeat(32)), parseFolderId(digit.repeat(16)));
const [a, b, c, d, e] = [voter("1"), voter("2"), voter("3"), voter("4"), voter("5")];
const genesis = { epoch: 1, members: [a, b, c] };
const change: ViewChange = { view: { epoch: 2, members: [b, c, d] }, previous: genesis };
const other: ViewChange = { view: { epoch: 2, members: [b, c, e] }, previous: genesis };
const accept = (epoch: number) => ({ slice, ballot: makeBallot(epoch, 1, a) });
const OK = { ok: true };

let seen: ViewsSeen;

beforeEach(() => {
  seen = new ViewsSeen(() => genesis);
});

test("a change with votes of its members before and after it is no problem", () => {
  seen.see(a, "index.accept", accept(1))(OK);
  seen.see(a, "index.seal", { slice, change })({ ok: true, state: "sealed" });
  seen.see(b, "index.install", { slice, change })({ epoch: 2, active: true });
  seen.see(d, "index.accept", accept(2))(OK);
  seen.see(d, "index.prepare", { claims: [accept(2)] })([OK]);
  seen.see(a, "index.accept", accept(1))({ ok: false, reason: "epoch" });
  expect(seen.problems()).toEqual([]);
});

test("two views of one epoch are seen, however they are told", () => {
  seen.see(b, "index.install", { slice, change });
  seen.see(c, "index.seal", { slice, change: other });
  expect(seen.problems()).toHaveLength(1);
  expect(seen.problems()[0]).toContain("slice 3 epoch 2 has two views");
});

test("a vote of one who is no member is seen, also when the view is told of later", () => {
  seen.see(e, "index.readfast", { slice })({ ok: true, epoch: 2 });
  expect(seen.problems()).toEqual([]);
  seen.see(b, "index.install", { slice, change });
  expect(seen.problems()[0]).toContain(`${e} votes`);
});

test("a vote after SEAL is seen, one that was asked for before is not", () => {
  const under = seen.see(a, "index.accept", accept(1));
  seen.see(a, "index.seal", { slice, change })({ ok: true, state: "sealed" });
  under(OK);
  expect(seen.problems()).toEqual([]);
  seen.see(a, "index.prepare", { claims: [accept(1)] })([OK]);
  expect(seen.problems()[0]).toContain("although it was sealed");
});
