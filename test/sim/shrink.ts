// Makes a failing seed smaller: fewer kinds of faults, a calm network, fewer nodes, clients, keys and operations, less
// time. A change is kept when the seed still fails, with whatever violation: one step after the other, until none is
// left that helps.
import { activeKinds, type Overrides, type Plan, drawPlan } from "./plan.ts";

/** Whether a seed fails with these overrides. */
export type Fails = (overrides: Overrides) => Promise<boolean>;

/** The smallest overrides found. `told` hears of each try. */
export async function shrink(
  seed: number,
  start: Overrides,
  fails: Fails,
  told: (overrides: Overrides, failed: boolean) => void = () => {},
): Promise<Overrides> {
  let best: Overrides = { ...start, faults: activeKinds(drawPlan(seed, start).faults) };
  for (let again = true; again;) {
    again = false;
    for (const smaller of smallerThan(best, drawPlan(seed, best))) {
      const failed = await fails(smaller);
      told(smaller, failed);
      if (!failed) continue;
      best = smaller;
      again = true;
      break;
    }
  }
  return best;
}

/** One step smaller each, the boldest first. */
function* smallerThan(from: Overrides, plan: Plan): Generator<Overrides> {
  const kinds = activeKinds(plan.faults);
  if (kinds.length > 0) yield { ...from, faults: [] };
  if (from.calmNetwork !== true) yield { ...from, calmNetwork: true };
  if (kinds.length > 2) {
    yield { ...from, faults: kinds.slice(0, kinds.length >> 1) };
    yield { ...from, faults: kinds.slice(kinds.length >> 1) };
  }
  for (const kind of kinds)
    if (kinds.length > 1) yield { ...from, faults: kinds.filter((other) => other !== kind) };
  const { clients, operations, keys, logs } = plan.workload;
  if (plan.nodes > 3) yield { ...from, nodes: 3 };
  if (plan.nodes > 1) yield { ...from, nodes: plan.nodes - 1 };
  if (clients > 1) yield { ...from, clients: clients >> 1 };
  if (keys > 1) yield { ...from, keys: keys >> 1 };
  if (logs > 0 && from.keys === undefined) yield { ...from, keys };
  for (const share of [0.25, 0.5, 0.75, 0.9])
    if (operations > 4) yield { ...from, operations: Math.floor(operations * share) };
}

/** The overrides as flags of `npm run sim`. */
export function flagsOf(seed: number, overrides: Overrides): string {
  const { nodes, nodesMin, nodesMax, ticksMs, operations, clients, keys, faults } = overrides;
  const flag = (name: string, value: string | number | undefined): string[] =>
    value === undefined ? [] : [`--${name} ${value}`];
  const kinds = faults && JSON.stringify(faults.join());
  const range = nodesMin === undefined ? undefined : `${nodesMin}-${nodesMax}`;
  return [
    `--seed ${seed}`,
    ...flag("nodes", nodes ?? range),
    ...flag("ticks", ticksMs),
    ...flag("ops", operations),
    ...flag("clients", clients),
    ...flag("keys", keys),
    ...flag("faults", kinds),
    ...(overrides.allFaults === true ? ["--all-faults"] : []),
    ...(overrides.calmNetwork === true ? ["--calm-network"] : []),
  ].join(" ");
}
