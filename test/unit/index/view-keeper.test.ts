// Which changes of views a leader begins, in which order, and what it does about those that fail.
import { beforeEach, expect, test } from "vitest";
import { type Elections } from "../../../node/index/elections.ts";
import { type Replica } from "../../../node/index/replica.ts";
import { type SliceLeader } from "../../../node/index/slice-leader.ts";
import { type ViewJoiner } from "../../../node/index/view-joiner.ts";
import { ViewKeeper } from "../../../node/index/view-keeper.ts";
import { type ViewSettler } from "../../../node/index/view-settler.ts";
import { Peers } from "../../../node/peers.ts";
import { TransportError } from "../../../node/ports.ts";
import { type Member } from "../../../node/route/types.ts";
import { silentLog } from "../../../node/runtime/json-log.ts";
import {
  type NodeId,
  type VoterId,
  nodeOfVoter,
  parseFolderId,
  parseNodeId,
  parseRequestId,
  voterIdOf,
} from "../../../shared/ids.ts";
import { dutyMs, nextWalkMs, calmChangesMax, viewRetryMs } from "../../../shared/limits.ts";
import { type Slice } from "../../../shared/slices.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";

const folder = parseFolderId("f".repeat(16));
const [A, B, C, D] = ["1", "2", "3", "4"].map((digit) =>
  voterIdOf(parseNodeId(digit.repeat(32)), folder),
) as [VoterId, VoterId, VoterId, VoterId];
const SLICES = 128;
const movePauseMs = 25;

let clock: VirtualClock;
/** How often the slices that are led were listed. */
let looks: number;
let keeper: ViewKeeper;
let states: Map<NodeId, Member["state"]>;
/** Who votes in which slice that this node leads. */
let views: Map<Slice, readonly VoterId[]>;
/** What the ring wants everywhere. */
let desired: readonly VoterId[];
/** Slices whose views changed, in order. */
let changed: Slice[];
/** How a newcomer answers when it is to copy a slice. */
let precopy: (slice: Slice) => Promise<{ complete: boolean }>;

const memberOf = (voter: VoterId): Member =>
  ({
    id: nodeOfVoter(voter),
    folder,
    zone: "",
    state: states.get(nodeOfVoter(voter)) ?? "alive",
  }) as Member;

function leaderOf(slice: Slice): SliceLeader | undefined {
  const members = views.get(slice);
  if (!members) return undefined;
  const known = leaders.get(slice);
  if (known?.members === members) return known;
  const leader = {
    slice,
    ballot: "",
    members,
    view: { epoch: 1, members },
    execute: async (_key: string, { members: decided }: { members: VoterId[] }) => {
      changed.push(slice);
      views.set(slice, decided);
      return { type: "view", members: decided };
    },
  } as unknown as SliceLeader;
  leaders.set(slice, leader);
  return leader;
}
let leaders: Map<Slice, SliceLeader>;

beforeEach(() => {
  clock = new VirtualClock();
  states = new Map();
  views = new Map();
  leaders = new Map();
  changed = [];
  looks = 0;
  desired = [A, B, C];
  precopy = async () => ({ complete: true });
  const unused = (): never => {
    throw new Error("Not used here");
  };
  const members = (): Member[] => [A, B, C, D].map(memberOf);
  keeper = new ViewKeeper({
    replica: {
      mayLead: () => true,
      viewOf: () => ({ epoch: 1, members: [] }),
      knownVersions: () => undefined,
    } as unknown as Replica,
    elections: {
      voter: A,
      slicesLed: () => {
        looks++;
        return [...views.keys()];
      },
      leaderOf,
    } as unknown as Elections,
    settler: { settle: async () => {} } as unknown as ViewSettler,
    joiner: { forgetUnused: () => {} } as unknown as ViewJoiner,
    peers: new Peers({
      call: async (_peer, _name, request) => precopy((request as { slice: Slice }).slice),
      open: unused,
      serve: unused,
      close: unused,
    }),
    route: {
      members,
      desired: () => desired.map(memberOf),
      find: (id: NodeId) => members().find((member) => member.id === id),
      peer: (id: NodeId) => ({ id, address: id }),
      onChange: () => () => {},
      copies: () => ({ copies: 3, revision: 1 }),
    } as never,
    handovers: { run: async () => false },
    clock,
    log: silentLog,
    sliceBits: Math.log2(SLICES),
    joinAfterMs: 0,
    repairAfterMs: 0,
    movePauseMs,
    newRequestId: () => parseRequestId("0".repeat(32)),
  });
});

test("a change that took longer than a look at the slices, and failed, is tried again", async () => {
  views.set(0 as Slice, [A, B, D]);
  precopy = async () => {
    await clock.sleep(2_500);
    throw new TransportError("timeout", "No answer");
  };
  keeper.start();
  await clock.runFor(4_000);
  expect(keeper.count).toBe(0);
  precopy = async () => ({ complete: true });
  await clock.runFor(viewRetryMs + 2_000);
  expect(views.get(0 as Slice)).toEqual([A, B, C]);
});

test("slices that lack a member do not wait for others, whose newcomers take their time", async () => {
  for (let slice = 0; slice < 100; slice++) views.set(slice as Slice, [A, B, D]);
  precopy = (slice) => (slice < 100 ? new Promise(() => {}) : Promise.resolve({ complete: true }));
  keeper.start();
  await clock.runFor(2_000);
  expect(keeper.count).toBe(calmChangesMax);
  for (let slice = 100; slice < 110; slice++) views.set(slice as Slice, [A]);
  await clock.runFor(2_000);
  expect(changed).toEqual(Array.from({ length: 10 }, (_, i) => 100 + i));
});

test("a view changes its size only when all that it needs have just answered, at its turn", async () => {
  for (const slice of [0, 1]) views.set(slice as Slice, [A]);
  let asked = 0;
  // Both are ready at first; then the newcomers of one are gone before its turn, unnoticed by the member table.
  precopy = async (slice) => {
    if (slice === 1 && ++asked > 2) throw new TransportError("timeout", "No answer");
    return { complete: true };
  };
  keeper.start();
  await clock.runFor(3_000);
  expect(changed).toEqual([0]);
  expect(views.get(1 as Slice)).toEqual([A]);
});

test("while many slices change all are looked at once a second, and not at all when none wants to any more", async () => {
  for (let slice = 0; slice < SLICES; slice++) views.set(slice as Slice, [A, B, D]);
  keeper.start();
  await clock.runFor(dutyMs + (SLICES * movePauseMs) / 2);
  expect(changed.length).toBeGreaterThan(SLICES / 3);
  expect(looks).toBe(Math.floor(clock.now / dutyMs));
  await clock.runFor((SLICES * movePauseMs) / 2 + 2_000);
  expect(changed).toHaveLength(SLICES);
  expect(looks).toBeLessThanOrEqual(Math.ceil(clock.now / nextWalkMs));
  const before = looks;
  await clock.runFor(10_000);
  expect(looks).toBe(before);
});

test("after a failed change no other is begun before the next look: what failed it may be known by then", async () => {
  for (let slice = 0; slice < SLICES; slice++) views.set(slice as Slice, [A, B, D]);
  let asked = 0;
  precopy = async () => {
    asked++;
    throw new TransportError("unreachable", "It has just crashed");
  };
  keeper.start();
  await clock.runFor(1.5 * dutyMs);
  expect(asked).toBe(calmChangesMax);
  states.set(nodeOfVoter(C), "dead");
  await clock.runFor(viewRetryMs);
  expect(asked).toBe(calmChangesMax);
});
