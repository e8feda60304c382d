import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ChunkGatherer } from "../../../node/data/chunk-gatherer.ts";
import { HeadTimes } from "../../../node/data/head-times.ts";
import { choosePlaces, type PlacementRequest } from "../../../node/data/placement.ts";
import { RecentFailures } from "../../../node/data/recent-failures.ts";
import { type Member } from "../../../node/route/types.ts";
import { type FolderId, type NodeId } from "../../../shared/ids.ts";
import { nodeAvoidMs, streamChunkBytes } from "../../../shared/limits.ts";
import { SeededChance } from "../../sim/seeded-chance.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";

const GiB = 2 ** 30;
const id = (number: number): NodeId => number.toString(16).padStart(32, "0") as NodeId;

function member(number: number, what: Partial<Member> = {}): Member {
  return {
    id: id(number),
    folder: "0".repeat(16) as FolderId,
    url: "",
    peerAddress: `n${number}:1`,
    zone: "z",
    position: undefined,
    capacityBytes: 100 * GiB,
    freeBytes: 50 * GiB,
    incarnation: 1,
    state: "alive",
    sinceMs: 0,
    ...what,
  };
}

function choose(
  members: readonly Member[],
  what: Partial<PlacementRequest> = {},
  seed = 1,
): NodeId[] {
  const request: PlacementRequest = {
    members,
    count: 3,
    enough: 2,
    exclude: new Set(),
    avoid: () => false,
    inFlight: () => 0,
    ...what,
  };
  return choosePlaces(request, new SeededChance(seed)).map((chosen) => chosen.id);
}

const five = [1, 2, 3, 4, 5].map((number) => member(number));

test("choosePlaces puts this node first when it has room, and leaves it out when others have more", () => {
  expect(choose(five, { first: id(4) })[0]).toBe(id(4));
  const full = five.map((m) => (m.id === id(4) ? { ...m, freeBytes: GiB } : m));
  expect(choose(full, { first: id(4) })).not.toContain(id(4));
  const allFull = five.map((m) => ({ ...m, freeBytes: GiB }));
  expect(choose(allFull, { first: id(4) })[0]).toBe(id(4));
});

test("choosePlaces prefers alive nodes to suspect ones, also in a new zone", () => {
  const members = [member(1), member(2), member(3), member(4, { state: "suspect", zone: "y" })];
  expect(choose(members).toSorted()).toEqual([id(1), id(2), id(3)]);
});

test("choosePlaces takes avoided nodes only up to what is enough", () => {
  const avoid = (node: NodeId): boolean => node > id(1);
  expect(choose(five, { avoid })).toHaveLength(2);
  expect(choose(five, { avoid: (node) => node > id(2) }).toSorted()).toEqual([id(1), id(2)]);
});

test("choosePlaces counts zones that hold a copy already", () => {
  const members = [member(1, { zone: "a" }), member(2, { zone: "b" }), member(3, { zone: "a" })];
  for (let seed = 0; seed < 10; seed++)
    expect(choose(members, { count: 1, zonesUsed: new Set(["a"]) }, seed)).toEqual([id(2)]);
});

test("choosePlaces spreads by free space and load, with chance", () => {
  const members = [
    member(1, { freeBytes: 90 * GiB }),
    member(2, { freeBytes: 10 * GiB }),
    member(3, { freeBytes: 90 * GiB }),
  ];
  const times = new Map<NodeId, number>();
  for (let seed = 0; seed < 400; seed++) {
    const inFlight = (node: NodeId): number => (node === id(3) ? 8 : 0);
    const [chosen] = choose(members, { count: 1, inFlight }, seed);
    times.set(chosen!, (times.get(chosen!) ?? 0) + 1);
  }
  // Weights 90 : 10 : 10.
  expect(times.get(id(1))).toBeGreaterThan(280);
  expect(times.get(id(2))).toBeGreaterThan(10);
  expect(times.get(id(3))).toBeGreaterThan(10);
});

test("choosePlaces never repeats or takes an excluded node, and takes as many zones as it can", () => {
  const some = fc.array(
    fc.record({
      number: fc.integer({ min: 1, max: 12 }),
      zone: fc.constantFrom("a", "b", "c"),
    }),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(some, fc.integer({ min: 0, max: 5 }), fc.nat(), (drawn, count, seed) => {
      const members = [...new Map(drawn.map((d) => [d.number, member(d.number, d)])).values()];
      const exclude = new Set([id(3)]);
      const chosen = choose(members, { count, exclude, first: id(5) }, seed);
      const eligible = members.filter((m) => !exclude.has(m.id));
      expect(new Set(chosen).size).toBe(chosen.length);
      expect(chosen).toHaveLength(Math.min(count, eligible.length));
      expect(chosen).not.toContain(id(3));
      const zonesOf = (ids: readonly NodeId[]): number =>
        new Set(ids.map((node) => members.find((m) => m.id === node)!.zone)).size;
      const zones = zonesOf(eligible.map((m) => m.id));
      expect(zonesOf(chosen)).toBe(Math.min(count, zones, chosen.length));
    }),
    { numRuns: 200 },
  );
});

test("ChunkGatherer keeps all bytes in order, within the stream's chunk size", () => {
  const sizes = fc.array(
    fc.oneof(fc.integer({ min: 0, max: 3_000 }), fc.integer({ min: 0, max: 700_000 })),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(sizes, (lengths) => {
      const chance = new SeededChance(lengths.length);
      const chunks = lengths.map((length) => chance.bytes(length));
      const gatherer = new ChunkGatherer();
      const out: Uint8Array[] = [];
      for (const chunk of chunks) for (const ready of gatherer.push(chunk)) out.push(ready.slice());
      for (const ready of gatherer.flush()) out.push(ready.slice());
      expect(out.every((c) => c.length > 0 && c.length <= streamChunkBytes)).toBe(true);
      expect(Buffer.compare(Buffer.concat(out), Buffer.concat(chunks))).toBe(0);
      expect([...gatherer.flush()]).toEqual([]);
    }),
    { numRuns: 60 },
  );
});

test("ChunkGatherer gathers many small chunks into few, and does not copy large ones", () => {
  const gatherer = new ChunkGatherer();
  let out = 0;
  for (let i = 0; i < 1024; i++) out += [...gatherer.push(new Uint8Array(1024))].length;
  expect(out).toBe(8);
  const large = new Uint8Array(100_000);
  expect([...gatherer.push(large)][0]!.buffer).toBe(large.buffer);
});

test("HeadTimes.hedgeDelayMs is the p95 of the last minute, at least 20 ms and at most 300", async () => {
  const clock = new VirtualClock();
  const times = new HeadTimes(clock);
  expect(times.hedgeDelayMs()).toBe(20);
  for (let i = 1; i <= 100; i++) times.add(i);
  expect(times.hedgeDelayMs()).toBe(95);
  for (let i = 0; i < 1_000; i++) times.add(1);
  expect(times.hedgeDelayMs()).toBe(20);
  for (let i = 0; i < 50; i++) times.add(500);
  expect(times.hedgeDelayMs()).toBe(300);
  await clock.runFor(61_000);
  expect(times.hedgeDelayMs()).toBe(20);
});

test("RecentFailures forgets after nodeAvoidMs", async () => {
  const clock = new VirtualClock();
  const failures = new RecentFailures(clock);
  failures.note(id(1));
  expect(failures.has(id(1))).toBe(true);
  expect(failures.has(id(2))).toBe(false);
  await clock.runFor(nodeAvoidMs);
  expect(failures.has(id(1))).toBe(false);
});
