// One run of the simulator: options drawn from the seed, a phase with faults (safety), then everything healed
// (liveness: all nodes answer, the ring is whole, replicas become equal), then the checks over what the clients saw.
import { type IndexFaults } from "../../node/index/faults.ts";
import { Faults } from "./faults.ts";
import { History } from "./history.ts";
import {
  checkCopies,
  checkReplicas,
  checkRoute,
  checkService,
  checkViews,
  type Healed,
} from "./liveness.ts";
import { type BuildNode } from "./sim-node.ts";
import { type Overrides, type Plan, drawPlan } from "./plan.ts";
import { Workload, createTestBucket } from "./workload.ts";
import { World } from "./world.ts";

export interface SimulationOptions {
  readonly seed: number;
  readonly overrides?: Overrides | undefined;
  /** Rules of the protocol to break, for mutation tests. */
  readonly faults?: IndexFaults | undefined;
  readonly tearingDisks?: boolean | undefined;
  readonly build?: BuildNode | undefined;
}

/** What a run was like, in numbers. */
export interface Counts {
  readonly operations: number;
  /** Ends of operations, such as "put ok". */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, number>>;
  readonly messageFaults: Readonly<Record<string, number>>;
  readonly crashes: number;
  readonly campaigns: number;
  readonly leaders: number;
  readonly viewChanges: number;
  readonly messages: number;
  readonly timers: number;
  readonly virtualMs: number;
  /** From the heal until every node served, the ring was whole, replicas were equal, blocks had all their copies. */
  readonly serviceMs: number;
  readonly ringMs: number;
  readonly replicasMs: number;
  readonly copiesMs: number;
}

export interface Report {
  readonly seed: number;
  readonly plan: Plan;
  readonly violations: readonly string[];
  readonly counts: Counts;
  /** Hash of all deliveries. */
  readonly trace: string;
  readonly world: World;
}

const recordOf = (counts: ReadonlyMap<string, number>): Record<string, number> =>
  Object.fromEntries([...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)));

const sum = (counts: ReadonlyMap<string, number>): number =>
  [...counts.values()].reduce((total, count) => total + count, 0);

/** Runs one seed to its end. Never throws for what the cluster did: that stands in `violations`. */
export async function simulate(options: SimulationOptions): Promise<Report> {
  const plan = drawPlan(options.seed, options.overrides);
  const { seed, faults: broken, build, tearingDisks } = options;
  const { nodes, copies, zones, syncMs, driftPpm, routing } = plan;
  const { joinAfterMs, repairAfterMs, restlessness } = plan;
  const world = new World({
    ...{ seed, nodes, copies, zones, syncMs, driftPpm, routing },
    ...{ joinAfterMs, repairAfterMs, restlessness },
    ...(broken ? { faults: broken } : {}),
    ...(build ? { build } : {}),
    ...(tearingDisks ? { tearingDisks } : {}),
  });
  const history = new History();
  const faults = new Faults(world, plan.faults);
  const violations: string[] = [];
  let recovery = { serviceMs: 0, ringMs: 0, replicasMs: 0, copiesMs: 0 };
  try {
    recovery = await run(world, plan, history, faults);
  } catch (error) {
    violations.push(`the run broke off: ${error instanceof Error ? error.stack : String(error)}`);
  }
  violations.push(...world.defects.slice(0, 5), ...world.views.problems().slice(0, 5));
  violations.push(...history.violations());
  const { campaigns, leaders, viewChanges } = world.elections;
  const counts: Counts = {
    operations: sum(history.counts),
    outcomes: recordOf(history.counts),
    faults: recordOf(faults.injected),
    messageFaults: recordOf(world.conditions.injected),
    crashes: world.crashes,
    ...{ campaigns, leaders, viewChanges },
    messages: world.trace.messages,
    timers: world.clock.events,
    virtualMs: world.clock.now,
    ...recovery,
  };
  return { seed, plan, violations, counts, trace: world.trace.digest(), world };
}

async function run(world: World, plan: Plan, history: History, faults: Faults) {
  const { clock } = world;
  await world.start();
  const bucket = await clock.settle(createTestBucket(world), { deadlineMs: clock.now + 60_000 });
  Object.assign(world.conditions.quality, plan.quality);
  const untilMs = clock.now + plan.workload.untilMs;
  const workload = new Workload(world, history, bucket, { ...plan.workload, untilMs });
  faults.begin();
  // The last operations of all clients end long before.
  await clock.settle(workload.run(), { deadlineMs: untilMs + 90_000 });
  faults.end();
  checkViews(world);
  await world.heal();

  const { keys, plainKeys } = workload;
  const healed: Healed = { world, history, bucket, keys, plainKeys };
  const serviceMs = await checkService(healed);
  const ringMs = await checkRoute(world);
  const replicasMs = await checkReplicas(world);
  const copiesMs = await checkCopies(healed);
  checkViews(world);
  await world.stop();
  const [ring, replicas] = [serviceMs + ringMs, serviceMs + ringMs + replicasMs];
  return { serviceMs, ringMs: ring, replicasMs: replicas, copiesMs: replicas + copiesMs };
}
