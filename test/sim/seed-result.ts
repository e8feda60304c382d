// What is told of one seed, small enough to be sent between processes.
import { describePlan, type Overrides } from "./plan.ts";
import { type Counts, simulate } from "./simulation.ts";

export interface SeedResult {
  readonly seed: number;
  /** The plan in one line. */
  readonly plan: string;
  readonly violations: readonly string[];
  readonly counts: Counts;
  readonly trace: string;
  /** CPU milliseconds of the process that ran it. */
  readonly cpuMs: number;
  /** Warnings and errors of the nodes, newest last; empty unless asked for. */
  readonly log: readonly string[];
}

export interface SeedTask {
  readonly seed: number;
  readonly overrides: Overrides;
  readonly log: boolean;
}

export async function runSeed({ seed, overrides, log }: SeedTask): Promise<SeedResult> {
  const begun = process.cpuUsage();
  const { plan, violations, counts, trace, world } = await simulate({ seed, overrides });
  const { user, system } = process.cpuUsage(begun);
  const lines = world.log.filter(({ level }) => log && level !== "info");
  return {
    seed,
    plan: describePlan(seed, plan),
    violations,
    counts,
    trace,
    cpuMs: (user + system) / 1000,
    log: lines.map(
      ({ atMs, node, level, event, fields }) =>
        `${atMs.toFixed(1)} node ${node} ${level}: ${event} ${JSON.stringify(fields ?? {})}`,
    ),
  };
}
