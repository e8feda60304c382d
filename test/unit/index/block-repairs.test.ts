// When and in which order a leader repairs: after the wait, the most endangered first, bounded, again after failures.
import { beforeEach, describe, expect, test } from "vitest";
import { BlockRepairs } from "../../../node/index/block-repairs.ts";
import { type Health, copiesLeft, holdersOf, planRepair } from "../../../node/index/repair-plan.ts";
import {
  type RegisterAddress,
  type RegisterKey,
  type RegisterValue,
  type RepairStep,
} from "../../../node/index/types.ts";
import { type Member, type MemberState } from "../../../node/route/types.ts";
import { silentLog } from "../../../node/runtime/json-log.ts";
import { RingstowError } from "../../../shared/errors.ts";
import { type BlockId, type NodeId, parseNodeId } from "../../../shared/ids.ts";
import {
  checkerMs,
  repairAfterDefaultMs,
  repairBytesPerSecond,
  repairRetryMs,
  repairThinMs,
  repairTickMs,
  repairsInFlightMax,
} from "../../../shared/limits.ts";
import { type BlockRef } from "../../../shared/records.ts";
import { type Slice } from "../../../shared/slices.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";

const NODES = ["a", "b", "c", "d", "e"].map((digit) => parseNodeId(digit.repeat(32)));
const [A, B, C, D, E] = NODES as [NodeId, NodeId, NodeId, NodeId, NodeId];

let clock: VirtualClock;
let states: Map<NodeId, MemberState>;
/** Blocks of each slice led. */
let slices: Map<Slice, BlockRef[]>;
let looks: number;
let wanted: number;
let done: { block: BlockId; atMs: number; step: RepairStep }[];
let onRepair: (step: RepairStep) => Promise<boolean>;
let repairs: BlockRepairs;

const block = (name: number, on: readonly NodeId[], size = 1): BlockRef => ({
  id: name.toString(16).padStart(32, "0") as BlockId,
  size,
  replicas: on.map((node) => ({ node, version: 1 })),
});
const at = (slice: Slice, { id }: BlockRef): RegisterAddress => ({
  slice,
  key: id as string as RegisterKey,
});
const names = (): number[] => done.map(({ block: id }) => Number.parseInt(id, 16));

/** What a repair of the real thing would leave. */
async function perform(step: RepairStep): Promise<boolean> {
  const blocks = slices.get(step.at.slice)!;
  const i = blocks.findIndex(({ id }) => id === step.block.id);
  if (step.kind === "drop") {
    const replicas = step.block.replicas.filter(({ node }) => node !== step.instead);
    blocks[i] = { ...step.block, replicas };
  }
  if (step.kind !== "copy") return true;
  const used = step.block.replicas.map(({ node }) => node);
  const free = NODES.find((node) => states.get(node) === "alive" && !used.includes(node))!;
  const kept = step.block.replicas.filter(
    ({ node }) => node !== step.instead && node !== step.onto,
  );
  const node = step.onto ?? free;
  blocks[i] = { ...step.block, replicas: [...kept, { node, version: 1 }] };
  return true;
}

beforeEach(() => {
  clock = new VirtualClock();
  states = new Map(NODES.map((node) => [node, "alive"]));
  slices = new Map();
  looks = 0;
  wanted = 3;
  done = [];
  onRepair = perform;
  const members = () =>
    NODES.map((id) => ({ id, state: states.get(id)! })) as readonly Partial<Member>[] as Member[];
  const wanting = (slice: Slice, health: Health) =>
    slices.get(slice)!.filter((one) => planRepair(holdersOf(one), health));
  repairs = new BlockRepairs({
    clock,
    log: silentLog,
    route: {
      members,
      copies: () => ({ version: 1, copies: wanted }),
      live: () => members().filter(({ state }) => state === "alive" || state === "suspect"),
    },
    census: {
      worst: async (slice, health) => {
        looks++;
        const left = wanting(slice, health).map((one) => copiesLeft(holdersOf(one), health));
        return left.length > 0 ? Math.min(...left) : undefined;
      },
      wanting: async (slice, health, limit) =>
        wanting(slice, health)
          .slice(0, limit)
          .map((one) => ({ key: at(slice, one).key, block: one, holders: holdersOf(one) })),
    },
    afterMs: undefined,
    slicesLed: () => [...slices.keys()],
    read: async ({ slice, key }) => {
      const found = slices.get(slice)!.filter(({ id }) => (id as string) === key);
      return { kind: "part", part: { body: { kind: "blocks", blocks: found } } } as RegisterValue;
    },
    repair: async (step) => {
      done.push({ block: step.block.id, atMs: clock.now, step });
      return onRepair(step);
    },
  });
  repairs.start();
});

const lead = (slice: number, ...blocks: BlockRef[]): void =>
  void slices.set(slice as Slice, blocks);
const fewMs = 2 * repairTickMs;

describe("BlockRepairs", () => {
  test("waits until a node is dead for long enough, whatever wall clocks say, and a return ends the wait", async () => {
    lead(1, block(1, [A, B, C]));
    await clock.runFor(5_000);
    states.set(C, "dead");
    await clock.runFor(repairAfterDefaultMs - fewMs);
    states.set(C, "alive");
    await clock.runFor(fewMs);
    states.set(C, "dead");
    await clock.runFor(repairAfterDefaultMs - fewMs);
    expect(done).toEqual([]);
    await clock.runFor(2 * fewMs);
    expect(done.map(({ step }) => step)).toMatchObject([{ kind: "copy", instead: C }]);
    await clock.runFor(checkerMs);
    expect(done).toHaveLength(1);
  });

  test("takes the most endangered first, over all slices", async () => {
    states.set(C, "left");
    states.set(D, "left");
    lead(1, block(1, [A, B, C]), block(2, [A, B, C]));
    lead(2, block(3, [A, B, C]), block(4, [A, C, D]), block(5, [A, B, E]));
    lead(3, block(6, [B, C, D]));
    // One at a time, so that the order shows.
    const order: number[] = [];
    let turn: Promise<unknown> = Promise.resolve();
    onRepair = (step) => {
      const mine = turn.then(async () => {
        order.push(Number.parseInt(step.block.id, 16));
        return perform(step);
      });
      turn = mine;
      return mine;
    };
    await clock.runFor(fewMs);
    expect(new Set(order.slice(0, 2))).toEqual(new Set([4, 6]));
    expect(order).not.toContain(5);
    await clock.runFor(10 * fewMs);
    for (const blocks of slices.values())
      for (const one of blocks) expect(planRepair(holdersOf(one), healthNow())).toBeUndefined();
  });

  test("moves so many blocks at a time and so many bytes a second", async () => {
    const size = repairBytesPerSecond / 2;
    states.set(C, "left");
    lead(1, ...Array.from({ length: 21 }, (_, i) => block(i, [A, B, C], size)));
    let running = 0;
    let most = 0;
    onRepair = async (step) => {
      most = Math.max(most, ++running);
      await clock.sleep(20_000);
      running--;
      return perform(step);
    };
    await clock.runFor(fewMs);
    await clock.runFor(3_000);
    expect(done.length).toBeLessThanOrEqual(8);
    await clock.runFor(120_000);
    expect(most).toBe(repairsInFlightMax);
    expect(names()).toHaveLength(21);
    const startsMs = done.map(({ atMs }) => atMs);
    for (let i = 2; i < startsMs.length; i++)
      expect(startsMs[i]! - startsMs[i - 2]!).toBeGreaterThanOrEqual(1_000 - 1);
  });

  test("a step that could not be done is tried again after a pause, others meanwhile", async () => {
    states.set(C, "left");
    lead(1, block(1, [A, B, C]), block(2, [A, B, C]));
    let refusals = 0;
    onRepair = (step) => {
      if (Number.parseInt(step.block.id, 16) > 1 || refusals++ >= 3) return perform(step);
      return Promise.reject(new RingstowError("DiskFull"));
    };
    await clock.runFor(fewMs);
    expect(new Set(names())).toEqual(new Set([1, 2]));
    await clock.runFor(4 * repairRetryMs);
    expect(names().filter((name) => name === 1)).toHaveLength(4);
    expect(names().filter((name) => name === 2)).toHaveLength(1);
  });

  test("leaves late copies of a write the time to come", async () => {
    lead(1, block(1, [A, B]));
    await clock.runFor(fewMs);
    slices.set(1 as Slice, [block(1, [A, B, C]), block(2, [A, B])]);
    await clock.runFor(repairThinMs);
    expect(done).toEqual([]);
    await clock.runFor(checkerMs + repairThinMs + fewMs);
    expect(names()).toEqual([2]);
  });

  test("another number of copies is seen at once: makes what is missing, drops what is too many", async () => {
    const copiesOf = () => slices.get(1 as Slice)!.map(({ replicas }) => replicas.length);
    lead(1, ...Array.from({ length: 600 }, (_, i) => block(i, [A, B, C])));
    await clock.runFor(fewMs);
    expect(done).toEqual([]);
    wanted = 5;
    await clock.runFor(repairThinMs + 5 * fewMs);
    expect(new Set(copiesOf())).toEqual(new Set([5]));
    expect(done).toHaveLength(1_200);
    wanted = 3;
    await clock.runFor(5 * fewMs);
    expect(new Set(copiesOf())).toEqual(new Set([3]));
    expect(done).toHaveLength(2_400);
    await clock.runFor(2 * checkerMs);
    expect(done).toHaveLength(2_400);
    expect(repairs.pending).toBe(0);
  });

  test("mends a reported copy at once, and goes on until it is done", async () => {
    const bad = block(1, [A, B, C]);
    lead(1, bad);
    await clock.runFor(fewMs);
    let refusals = 0;
    onRepair = async () => {
      if (refusals++ < 2) throw new RingstowError("Unavailable");
      return true;
    };
    repairs.report(at(1 as Slice, bad), bad.id, B);
    expect(repairs.pending).toBe(1);
    await clock.runFor(fewMs);
    expect(done.map(({ step }) => step)).toMatchObject([{ kind: "copy", onto: B }]);
    await clock.runFor(3 * repairRetryMs);
    expect(names()).toEqual([1, 1, 1]);
    expect(repairs.pending).toBe(0);
  });

  test("mends two reported copies of a block one after the other", async () => {
    const bad = block(1, [A, B, C]);
    lead(1, bad);
    onRepair = async () => true;
    for (const node of [A, B]) repairs.report(at(1 as Slice, bad), bad.id, node);
    await clock.runFor(2 * repairRetryMs);
    expect(done.map(({ step }) => step)).toMatchObject([{ onto: A }, { onto: B }]);
    expect(repairs.pending).toBe(0);
  });

  test("does not look at slices again while nothing changed", async () => {
    lead(1, block(1, [A, B, C]));
    await clock.runFor(fewMs);
    expect(looks).toBe(1);
    await clock.runFor(checkerMs - 2 * fewMs);
    expect(looks).toBe(1);
    lead(2, block(2, [A, B, C]));
    await clock.runFor(fewMs);
    expect(looks).toBe(3);
    repairs.stop();
    await clock.runFor(10 * checkerMs);
    expect(looks).toBe(3);
  });
});

function healthNow(): Health {
  const live = new Set(NODES.filter((node) => states.get(node) === "alive"));
  return { copies: 3, live, able: live, isLost: (node) => !live.has(node), zoneOf: () => "z" };
}
