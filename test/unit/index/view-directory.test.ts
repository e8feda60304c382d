// What a node knows of views: the newest, with where it came from.
import { beforeEach, expect, test } from "vitest";
import { ViewDirectory } from "../../../node/index/view-directory.ts";
import { type ViewReplica } from "../../../node/index/view-replica.ts";
import { type KnownView } from "../../../node/index/views.ts";
import { Peers } from "../../../node/peers.ts";
import { TransportError } from "../../../node/ports.ts";
import { type Member } from "../../../node/route/types.ts";
import { type NodeId, parseFolderId, parseNodeId, voterIdOf } from "../../../shared/ids.ts";
import { callTimeoutMs, viewPageMax, viewSearchPauseMs } from "../../../shared/limits.ts";
import { type Slice } from "../../../shared/slices.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";

const SLICE = 5 as Slice;
const [SELF, NEAR, FAR] = ["1", "2", "3"].map((digit) => parseNodeId(digit.repeat(32)));
const voter = voterIdOf(SELF!, parseFolderId("1".repeat(16)));
const view = (epoch: number, previous?: KnownView): KnownView => ({
  epoch,
  members: [voter],
  ...(previous && { previous }),
});

let clock: VirtualClock;
let own: KnownView;
let newer: Slice[];
let asked: { node: NodeId; request: { slices?: Slice[]; after?: number } }[];
/** What other nodes answer; undefined: nothing. */
let answer: (request: { slices?: Slice[]; after?: number }) => unknown;
let directory: ViewDirectory;

beforeEach(() => {
  clock = new VirtualClock();
  own = view(1);
  newer = [];
  asked = [];
  answer = () => undefined;
  const unused = (): never => {
    throw new Error("Not used here");
  };
  const peers = new Peers({
    call: async (peer, _name, request) => {
      asked.push({ node: peer.id!, request: request as { slices?: Slice[] } });
      const reply = await answer(request as { slices?: Slice[] });
      if (reply === undefined) throw new TransportError("timeout", "No answer");
      return reply;
    },
    open: unused,
    serve: unused,
    close: unused,
  });
  const members = [SELF!, NEAR!, FAR!].map((id) => ({ id }) as Member);
  directory = new ViewDirectory({
    standings: { newestView: (slice: Slice) => (slice === SLICE ? own : view(1)) } as ViewReplica,
    peers,
    route: {
      self: members[0]!,
      live: () => members,
      peer: (id) => ({ id, address: id }),
      desired: () => members,
    },
    clock,
    sliceBits: 12,
    onNewer: (slice) => void newer.push(slice),
  });
});

test("learn takes a later view, and says so once", () => {
  expect(directory.learn(SLICE, view(2))).toBe(true);
  expect(directory.learn(SLICE, view(2))).toBe(false);
  expect(directory.learn(SLICE, view(1))).toBe(false);
  expect(directory.learn(SLICE, undefined)).toBe(false);
  expect(directory.viewOf(SLICE)).toEqual(view(2));
  expect(newer).toEqual([SLICE]);
});

test("learn adds where a known view came from, and keeps it", () => {
  directory.learn(SLICE, view(2));
  expect(directory.learn(SLICE, view(2, view(1)))).toBe(false);
  expect(newer).toEqual([SLICE, SLICE]);
  directory.learn(SLICE, view(2));
  expect(directory.viewOf(SLICE)).toEqual(view(2, view(1)));
});

test("viewOf is the replica's own where that is later", () => {
  directory.learn(SLICE, view(2));
  own = view(3);
  expect(directory.viewOf(SLICE)).toEqual(view(3));
  expect(directory.learn(SLICE, view(2))).toBe(false);
});

test("search asks the others who are near, and takes the latest that one knows", async () => {
  let epoch = 2;
  answer = () => ({ views: [{ slice: SLICE, view: view(epoch++) }], more: false });
  await directory.search(SLICE);
  await clock.drain();
  expect(asked.map(({ node }) => node)).toEqual([NEAR, FAR]);
  expect(directory.viewOf(SLICE).epoch).toBe(3);
});

test("search waits for nobody when a later view is known, and for all when none is", async () => {
  const told = { views: [{ slice: SLICE, view: view(2) }], more: false };
  answer = () => (asked.length === 1 ? clock.sleep(callTimeoutMs) : told);
  await clock.settle(directory.search(SLICE));
  expect(clock.now).toBe(0);
  expect(directory.viewOf(SLICE).epoch).toBe(2);
  await clock.runFor(viewSearchPauseMs);
  answer = () => clock.sleep(callTimeoutMs).then(() => ({ views: [], more: false }));
  await clock.settle(directory.search(SLICE));
  expect(clock.now).toBe(viewSearchPauseMs + callTimeoutMs);
});

test("search is one at a time, and not again at once", async () => {
  await Promise.all([directory.search(SLICE), directory.search(SLICE)]);
  await directory.search(SLICE);
  expect(asked).toHaveLength(2);
  await clock.runFor(viewSearchPauseMs);
  await directory.search(SLICE);
  expect(asked).toHaveLength(4);
});

test("learnLater asks only of slices whose epoch is later, who spoke of it", async () => {
  answer = ({ slices }) => ({
    views: slices!.map((slice) => ({ slice, view: view(4, view(3)) })),
    more: false,
  });
  await directory.learnLater(FAR!, [SLICE, 6 as Slice], [1, 1]);
  expect(asked).toEqual([]);
  await directory.learnLater(FAR!, [SLICE, 6 as Slice], [4, 1]);
  expect(asked).toEqual([{ node: FAR, request: { slices: [SLICE] } }]);
  expect(directory.viewOf(SLICE)).toEqual(view(4, view(3)));
  await directory.learnLater(FAR!, [SLICE], [4]);
  expect(asked).toHaveLength(1);
});

test("learnLater throws when nobody answers, so that it is not taken for done", async () => {
  answer = () => {
    throw new TransportError("timeout", "No answer");
  };
  await expect(directory.learnLater(FAR!, [SLICE], [4])).rejects.toThrow("is silent");
});

test("tell and learnAll carry every view beyond the first, page by page", async () => {
  for (let slice = 0; slice < viewPageMax + 10; slice++) directory.learn(slice as Slice, view(2));
  const first = directory.tell({});
  expect(first).toMatchObject({ more: true });
  expect(first.views).toHaveLength(viewPageMax);
  const rest = directory.tell({ after: first.views.at(-1)!.slice });
  expect(rest.more).toBe(false);
  expect(rest.views.map(({ slice }) => slice)).toEqual(
    Array.from({ length: 10 }, (_, i) => viewPageMax + i),
  );
  const pages = new Map<number | undefined, unknown>([
    [undefined, { views: [{ slice: 7, view: view(2) }], more: true }],
    [7, { views: [{ slice: 4_000, view: view(3) }], more: false }],
  ]);
  answer = ({ after }) => pages.get(after);
  expect(await directory.learnAll(NEAR!)).toBe(true);
  expect(directory.viewOf(4_000 as Slice).epoch).toBe(3);
  answer = () => undefined;
  expect(await directory.learnAll(NEAR!)).toBe(false);
});

test("newer names the slices of which a later epoch is known", () => {
  directory.learn(SLICE, view(3));
  const slices = [SLICE, 6 as Slice];
  expect(directory.newer(slices, [2, 1])).toEqual([{ slice: SLICE, view: view(3) }]);
  expect(directory.newer(slices, [3, 1])).toEqual([]);
  expect(directory.newer(slices, [])).toEqual([]);
});
