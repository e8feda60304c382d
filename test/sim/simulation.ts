// One run of the simulator: options drawn from the seed, a phase with faults (safety), then everything healed
// (liveness: all nodes answer, replicas become equal), then the checks over what the clients saw.
import { type IndexFaults } from "../../node/index/faults.ts";
import { Client } from "./client.ts";
import { FAULT_KINDS, Faults, type FaultKind, type FaultOptions } from "./faults.ts";
import { History } from "./history.ts";
import { type LinkQuality } from "./network-conditions.ts";
import { SeededChance } from "./seeded-chance.ts";
import { Workload, type WorkloadOptions, createTestBucket } from "./workload.ts";
import { World, type BuildNode } from "./world.ts";

export interface SimulationOptions {
  readonly seed: number;
  readonly nodes?: number | undefined;
  readonly operations?: number | undefined;
  readonly faults?: IndexFaults | undefined;
  readonly build?: BuildNode | undefined;
}

/** All that a seed decides, besides the schedule itself. */
export interface Plan {
  readonly nodes: number;
  readonly copies: number;
  readonly zones: number;
  readonly syncMs: number;
  readonly routing: "table" | "fingers";
  readonly quality: LinkQuality;
  readonly workload: WorkloadOptions;
  readonly faults: FaultOptions;
}

export interface Report {
  readonly seed: number;
  readonly plan: Plan;
  readonly violations: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
  /** Hash of all deliveries. */
  readonly trace: string;
  readonly virtualMs: number;
  readonly world: World;
}

const safetyMs = 90_000; // clients begin nothing after so much virtual time
const answerWithinMs = 30_000; // after the heal every node serves within so long
const convergeWithinMs = 120_000; // after the heal replicas are equal within so long

const NEEDS_LINKS: ReadonlySet<FaultKind> = new Set([
  "split",
  "isolate",
  "one-way",
  "cut one link",
  "slow node",
]);

export function drawPlan(options: SimulationOptions): Plan {
  const chance = new SeededChance(options.seed).fork("plan");
  const nodes = options.nodes ?? chance.pick([1, 2, 3, 3, 4, 5, 5, 6, 7]);
  const calm = chance.happens(0.15);
  const rate = (choices: readonly number[]): number => (calm ? 0 : chance.pick(choices));
  const kinds = FAULT_KINDS.filter(() => chance.happens(0.5)).filter(
    (kind) => nodes > 1 || !NEEDS_LINKS.has(kind),
  );
  const operations = options.operations ?? 150;
  const clients = 2 + chance.below(5);
  // Faults are drawn to fall among the operations: how long these take if nothing breaks decides the rest.
  const durationMs = chance.pick([2_000, 5_000, 15_000, 40_000]);
  const copies = nodes < 3 ? 1 : nodes >= 5 && chance.happens(0.2) ? 5 : 3;
  return {
    nodes,
    copies,
    zones: chance.pick([1, 1, 3]),
    syncMs: chance.pick([0, 1, 5]),
    routing: chance.happens(0.25) ? "fingers" : "table",
    quality: {
      delayMs: chance.pick([0.5, 1, 5]),
      jitterMs: rate([0, 2, 20]),
      loss: rate([0, 0.005, 0.02, 0.05]),
      duplication: rate([0, 0, 0.02]),
      spikes: rate([0, 0.01, 0.03]),
      spikeMs: chance.pick([500, 2_000, 8_000]),
    },
    workload: {
      clients,
      operations,
      keys: chance.pick([2, 4, 8, 12]),
      reads: chance.pick([0.3, 0.5, 0.7]),
      large: chance.pick([0, 0.05, 0.15]),
      thinkMs: Math.round((2 * durationMs * clients) / operations),
      untilMs: safetyMs,
    },
    faults: {
      kinds: calm ? [] : kinds,
      everyMs: durationMs / chance.pick([5, 12, 25]),
      lastMs: durationMs * chance.pick([0.05, 0.15, 0.4]),
      downMax: chance.happens(0.3) ? nodes : Math.max(1, (Math.min(copies, nodes) - 1) >> 1),
    },
  };
}

/** Runs one seed to its end. Never throws for what the cluster did: that stands in `violations`. */
export async function simulate(options: SimulationOptions): Promise<Report> {
  const plan = drawPlan(options);
  const world = new World({
    seed: options.seed,
    nodes: plan.nodes,
    copies: plan.copies,
    zones: plan.zones,
    syncMs: plan.syncMs,
    routing: plan.routing,
    ...(options.faults ? { faults: options.faults } : {}),
    ...(options.build ? { build: options.build } : {}),
  });
  const history = new History();
  const faults = new Faults(world, plan.faults);
  const violations: string[] = [];
  try {
    await run(world, plan, history, faults);
  } catch (error) {
    violations.push(`the run broke off: ${error instanceof Error ? error.stack : String(error)}`);
  }
  violations.push(...world.defects.slice(0, 5), ...history.violations());
  const counts: Record<string, number> = {
    operations: [...history.counts.values()].reduce((sum, count) => sum + count, 0),
    ...Object.fromEntries([...history.counts].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    messages: world.trace.messages,
    prepares: world.trace.count("index.prepare"),
    crashes: world.crashes,
    faults: [...faults.injected.values()].reduce((sum, count) => sum + count, 0),
    timers: world.clock.events,
  };
  return {
    seed: options.seed,
    plan,
    violations,
    counts,
    trace: world.trace.digest(),
    virtualMs: world.clock.now,
    world,
  };
}

async function run(world: World, plan: Plan, history: History, faults: Faults): Promise<void> {
  const { clock } = world;
  await world.start();
  const bucket = await clock.settle(createTestBucket(world), { deadlineMs: clock.now + 60_000 });
  Object.assign(world.conditions.quality, plan.quality);
  const workload = new Workload(world, history, bucket, {
    ...plan.workload,
    untilMs: clock.now + plan.workload.untilMs,
  });
  faults.begin();
  await clock.settle(workload.run(), { deadlineMs: clock.now + 2 * safetyMs });
  faults.end();
  await world.heal();

  // Liveness. A fresh client at every node must be served, and sees what was acknowledged.
  const clients = world.up().map((i) => new Client(`final ${i}`, world, history, bucket));
  const serve = async (client: Client, i: number): Promise<string | undefined> => {
    const at = i;
    const own = workload.keys[i % workload.keys.length]!;
    const { outcome, reason } = await client.put(own, 100, { at });
    if (outcome !== "ok") return `node ${i} does not take a put after the heal: ${reason}`;
    for (const key of workload.keys) {
      if (!(await client.get(key, { at }))) return `node ${i} does not answer a get after the heal`;
    }
    return (await client.list("", 5, workload.keys)) ? undefined : `node ${i} does not list`;
  };
  const served = await clock.settle(Promise.all(clients.map((client, i) => serve(client, i))), {
    deadlineMs: clock.now + answerWithinMs,
  });
  for (const problem of served) if (problem !== undefined) world.defects.push(problem);
  await converge(world);
  await world.stop();
}

/** Waits until all members of each slice hold the same registers. */
async function converge(world: World): Promise<void> {
  const { clock } = world;
  const deadlineMs = clock.now + convergeWithinMs;
  for (;;) {
    const unequal = await clock.settle(unequalSlices(world), { deadlineMs: clock.now + 10_000 });
    if (unequal.length === 0) return;
    if (clock.now >= deadlineMs) {
      world.defects.push(
        `replicas differ ${convergeWithinMs} ms after the heal: ${unequal.join("; ")}`,
      );
      return;
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
  return [...bySlice]
    .filter(([, digests]) => digests.size > 1)
    .map(([slice, digests]) => `slice ${slice} at nodes ${[...digests.values()].join(" | ")}`);
}

/** The plan in one line, for people. */
export function describePlan({ seed, plan }: { seed: number; plan: Plan }): string {
  const { quality, workload, faults } = plan;
  return [
    `seed ${seed}: ${plan.nodes} nodes, ${plan.copies} copies, sync ${plan.syncMs} ms, ${plan.routing}`,
    `delay ${quality.delayMs}+${quality.jitterMs} ms, loss ${quality.loss}, twice ${quality.duplication}`,
    `spikes ${quality.spikes} of ${quality.spikeMs} ms`,
    `${workload.clients} clients, ${workload.keys} keys, reads ${workload.reads}, large ${workload.large}`,
    `think ${workload.thinkMs} ms`,
    `faults [${faults.kinds.join(", ")}] every ${faults.everyMs} ms up to ${faults.lastMs} ms, down ${faults.downMax}`,
  ].join("; ");
}
