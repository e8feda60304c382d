// What members told of themselves is handed over once, to who gathers that very view.
import { beforeEach, expect, test } from "vitest";
import { ToldSources } from "../../../node/index/told-sources.ts";
import { type ViewChange } from "../../../node/index/views.ts";
import { parseFolderId, parseNodeId, voterIdOf } from "../../../shared/ids.ts";
import { type ToldSource } from "../../../shared/protocol/index-calls.ts";
import { type Slice } from "../../../shared/slices.ts";

const SLICE = 3 as Slice;
const [A, B, C, D] = ["1", "2", "3", "4"].map((digit) =>
  voterIdOf(parseNodeId(digit.repeat(32)), parseFolderId(digit.repeat(16))),
);
const changeTo = (epoch: number): ViewChange => ({
  view: { epoch, members: [A!, B!, D!] },
  previous: { epoch: epoch - 1, members: [A!, B!, C!] },
});
const of = (member: string | undefined, epoch: number, more = false): ToldSource => ({
  member: member as ToldSource["member"],
  epoch,
  page: { rows: [], more },
});

let told: ToldSources;

beforeEach(() => {
  told = new ToldSources();
});

/** What is handed over to who gathers a view, while it does. */
function listen(epoch: number): { heard: ToldSource[]; stop: () => void } {
  const heard: ToldSource[] = [];
  return { heard, stop: told.listen(SLICE, epoch, (source) => heard.push(source)) };
}

test("hands over what was told before and meanwhile, once, the newest of each member", () => {
  told.hear(SLICE, changeTo(2), of(A, 1));
  told.hear(SLICE, changeTo(2), of(B, 1));
  told.hear(SLICE, changeTo(2), of(A, 2));
  const { heard, stop } = listen(2);
  expect(heard).toEqual([of(B, 1), of(A, 2)]);
  told.hear(SLICE, changeTo(2), of(C, 1));
  expect(heard.slice(2)).toEqual([of(C, 1)]);
  stop();
  expect(listen(2).heard).toEqual([]);
});

test("keeps what is told between two tries for the next one", () => {
  listen(2).stop();
  told.hear(SLICE, changeTo(2), of(A, 1));
  expect(listen(2).heard).toEqual([of(A, 1)]);
});

test("a later change takes the place of an earlier one, and not the other way round", () => {
  told.hear(SLICE, changeTo(2), of(A, 1));
  told.hear(SLICE, changeTo(3), of(B, 2));
  told.hear(SLICE, changeTo(2), of(B, 1));
  const earlier = listen(2);
  expect(earlier.heard).toEqual([]);
  earlier.stop();
  expect(listen(3).heard).toEqual([of(B, 2)]);
});

test("takes no member's word for a view that it is not of", () => {
  const { heard } = listen(3);
  told.hear(SLICE, changeTo(3), of(D, 2));
  told.hear(SLICE, changeTo(3), of(C, 3));
  told.hear(SLICE, changeTo(3), of(A, 1));
  expect(heard).toEqual([]);
});
