// After the heal everything must come right again within a bound: every node serves, the ring is whole, views have as many
// members as are wanted, replicas are equal, and what was acknowledged has as many good copies as are wanted. Each check
// gives the problems it found.
import { type RouteModule } from "../../node/route/route.ts";
import { majorityOf, viewSize } from "../../node/index/views.ts";
import { copiesWanted, nodesOf } from "../../node/route/types.ts";
import { isLater } from "../../shared/copies.ts";
import { successorListLength } from "../../shared/genesis.ts";
import { type BlockId } from "../../shared/ids.ts";
import { type BucketRef } from "../../shared/object-service.ts";
import { type Slice } from "../../shared/slices.ts";
import { Client } from "./client.ts";
import { intactCopies, knownViews } from "./copies.ts";
import { type History } from "./history.ts";
import { checkRing, isIdeal } from "./ring-invariants.ts";
import { type World } from "./world.ts";

const answerWithinMs = 30_000; // after the heal every node serves within so long
const refusedWithinMs = 10_000; // after the heal nothing is refused any more
const convergeWithinMs = 120_000; // after the heal replicas are equal within so long
const copiesWithinMs = 180_000; // after that blocks have all their copies: a dead node is waited for, and leaders look once a minute
const ringWithinMs = 60_000; // after the heal the ring is one, and all tables agree, within so long

export interface Healed {
  readonly world: World;
  readonly history: History;
  readonly bucket: BucketRef;
  /** Keys that clients wrote, and those of them that may be written without a condition. */
  readonly keys: readonly string[];
  readonly plainKeys: readonly string[];
}

/** A fresh client at every node is served and sees what was acknowledged. Gives how long that took, in ms. */
export async function checkService(healed: Healed): Promise<number> {
  const { world, history, bucket, keys, plainKeys } = healed;
  const { clock } = world;
  const begunMs = clock.now;
  // A node that has just lost sight of most members, or is only getting to know the others, says so at once, and may be
  // asked again.
  const isPatient = (): boolean => clock.now - begunMs <= refusedWithinMs;
  const serve = async (at: number): Promise<string | undefined> => {
    const client = new Client(`final ${at}`, world, history, bucket);
    const written = plainKeys[at % plainKeys.length]!;
    for (let isServed = false; !isServed;) {
      const { outcome, reason } = await client.put(written, 100, { at });
      isServed = outcome === "ok";
      if (!isServed && !isPatient())
        return `node ${at} does not take a put after the heal: ${reason}`;
    }
    for (const key of keys) {
      while (!(await client.get(key, { at }))) {
        if (!isPatient()) return `node ${at} does not answer a get after the heal`;
      }
    }
    while (!(await client.list("", 5, keys))) {
      if (!isPatient()) return `node ${at} does not list`;
    }
    return undefined;
  };
  const served = await clock.settle(Promise.all(world.up().map(serve)), {
    deadlineMs: begunMs + answerWithinMs,
  });
  for (const problem of served) if (problem !== undefined) world.defects.push(problem);
  return clock.now - begunMs;
}

/** All members of each slice are there, if there are nodes enough, and hold the same registers. */
export async function checkReplicas(world: World): Promise<number> {
  const unequal = (): Promise<string[]> => world.clock.settle(unequalSlices(world));
  return within(world, convergeWithinMs, "replicas differ", unequal);
}

/** Of one slice and epoch there is one view, whoever is asked. Holds at any time, not only after a heal. */
export function checkViews(world: World): void {
  const known = new Map<string, { members: string; node: number }>();
  for (const { slice, epoch, members, node } of knownViews(world)) {
    const name = `slice ${slice}, epoch ${epoch}`;
    const other = known.get(name);
    if (!other) known.set(name, { members: members.join(), node });
    else if (other.members !== members.join())
      world.defects.push(
        `two views of ${name}: [${other.members}] at node ${other.node}, [${members.join()}] at node ${node}`,
      );
  }
}

/**
 * Every node that is not gone is known to every other, the ring is in its ideal state, and all know the same number of
 * copies: the last one that an operator was told, or a later one.
 */
export async function checkRoute(world: World): Promise<number> {
  return within(world, ringWithinMs, "the ring is not whole", async () => routeProblems(world));
}

/**
 * Reads every key and counts the good copies of its blocks, beside those that faults took for good: at first as many as
 * an acknowledgement needed, then as many as are wanted. Gives how long that took, in ms.
 */
export async function checkCopies(healed: Healed): Promise<number> {
  const { world } = healed;
  const { genesis, operator } = world;
  const least = Math.min(genesis.copies, genesis.nodes.length, ...operator.asked);
  for (const { name, good, lost } of await copiesOf(healed)) {
    if (good.length === 0 || good.length < majorityOf(least) - lost.length)
      world.defects.push(`${name} are too few`);
  }
  return within(world, copiesWithinMs, "blocks have not the copies wanted", async () => {
    const route = routeOf(world);
    if (!route) return [];
    const wanted = copiesWanted(route);
    const nodes = world.up().length;
    const isRight = ({ named, good, lost }: BlockCopies): boolean => {
      // Where there are too few nodes, those that are gone stay named.
      const there = nodes >= wanted ? named : named.filter((i) => world.isUp(i));
      return there.length === Math.min(wanted, nodes) && good.length >= there.length - lost.length;
    };
    return (await copiesOf(healed)).filter((one) => !isRight(one)).map(({ name }) => name);
  });
}

interface BlockCopies {
  /** For people. */
  readonly name: string;
  /** Numbers of nodes: with a good copy, with a pointer, with a pointer and without a copy that a fault took. */
  readonly good: readonly number[];
  readonly named: readonly number[];
  readonly lost: readonly number[];
}

async function copiesOf({ world, bucket, keys }: Healed): Promise<BlockCopies[]> {
  const { clock } = world;
  const [at] = world.up();
  const blocks: BlockCopies[] = [];
  for (const key of keys) {
    const request = { bucket, key, conditions: {}, headOnly: true } as const;
    const found = await clock.settle(
      world.at(at!, (object) => object.get(request)).catch(() => undefined),
      { deadlineMs: clock.now + answerWithinMs },
    );
    if (found?.type !== "object" || found.entry.body.kind !== "blocks") continue;
    for (const { id, replicas } of found.entry.body.blocks) {
      const good = intactCopies(world, id);
      const named = replicas.map(({ node }) => world.numberOf(node));
      const lost = named.filter((i) => !good.includes(i)).filter((i) => tookAway(world, i, id));
      const name = `"${key}": copies of block ${id} at [${good.join()}], named at [${named.join()}], lost at [${lost.join()}]`;
      blocks.push({ name, good, named, lost });
    }
  }
  return blocks;
}

/** The route module of some node; undefined in a build without one. */
function routeOf(world: World): RouteModule | undefined {
  return world.node(world.up()[0]!).route as RouteModule | undefined;
}

/** Whether a fault took this copy: its machine is gone, or the block is there and rotten. */
function tookAway(world: World, i: number, id: BlockId): boolean {
  const machine = world.machines[i];
  return machine !== undefined && (machine.gone !== undefined || machine.disk.blocks.has(id));
}

/** Runs until there is no problem; at the deadline what is left is a defect. Gives how long it took, in ms. */
async function within(
  world: World,
  withinMs: number,
  what: string,
  problems: () => Promise<string[]>,
): Promise<number> {
  const { clock } = world;
  const begunMs = clock.now;
  for (;;) {
    const found = await problems();
    if (found.length === 0) return clock.now - begunMs;
    if (clock.now - begunMs >= withinMs) {
      world.defects.push(`${what} ${withinMs} ms after the heal: ${found.slice(0, 5).join("; ")}`);
      return clock.now - begunMs;
    }
    await clock.runFor(1_000);
  }
}

async function unequalSlices(world: World): Promise<string[]> {
  const bySlice = new Map<number, Map<string, number[]>>();
  for (const i of world.up()) {
    for (const [slice, digest] of await world.node(i).index.digests()) {
      let holders = bySlice.get(slice);
      if (!holders) bySlice.set(slice, (holders = new Map()));
      holders.set(digest, [...(holders.get(digest) ?? []), i]);
    }
  }
  return [...bySlice].flatMap(([slice, digests]) => {
    if (digests.size > 1)
      return [`slice ${slice} at nodes ${[...digests.values()].join(" | ")} differs`];
    const [holders] = digests.values();
    const { members } = world.node(holders![0]!).index.view(slice as Slice);
    if (members.length === 0) return []; // a build without views
    const numbers = members.map((id) => world.numberOf(id));
    const missing = numbers.filter((i) => world.isUp(i) && !holders!.includes(i));
    if (missing.length > 0) return [`slice ${slice} is not held by its members ${missing.join()}`];
    const gone = numbers.filter((i) => !world.isUp(i));
    const route = routeOf(world)!;
    const wanted = viewSize(route.copies().copies, nodesOf(route));
    const nodes = world.up().length;
    // As long as there are nodes enough, the lost are replaced. A view that is larger than it should be waits for nobody.
    if (gone.length > 0 && nodes >= wanted)
      return [`slice ${slice} has members ${gone.join()} that are gone`];
    if (nodes >= wanted ? numbers.length !== wanted : numbers.length < viewSize(wanted, nodes))
      return [`slice ${slice} has ${numbers.length} members, not ${wanted}`];
    return [];
  });
}

function routeProblems(world: World): string[] {
  const up = world.up();
  const ids = up.map((i) => world.id(i)).toSorted();
  const found: string[] = [];
  const states = [];
  const settings = new Set<string>();
  for (const i of up) {
    const route = world.node(i).route as RouteModule | undefined;
    if (!route) return []; // a build without a ring
    const live = route.live().map(({ id }) => id);
    if (live.join() !== ids.join())
      found.push(`node ${i} sees ${live.length} live members of ${ids.length}`);
    const { version, copies } = route.copies();
    settings.add(`${copies} (${version})`);
    if (world.operator.acknowledged && isLater(world.operator.acknowledged, route.copies()))
      found.push(
        `node ${i} does not know that ${world.operator.acknowledged.copies} copies are wanted`,
      );
    const state = route.ringState();
    if (state) states.push(state);
  }
  if (settings.size > 1)
    found.push(`the numbers of copies known are ${[...settings].join(" and ")}`);
  const r = successorListLength(world.genesis.nodes.length);
  if (ids.length <= r) return found;
  if (states.length < up.length) found.push(`${up.length - states.length} nodes are in no ring`);
  else if (!isIdeal(states, r)) found.push("the ring is not ideal", ...checkRing(states, r));
  return found;
}
