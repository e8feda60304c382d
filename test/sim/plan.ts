// What a seed decides besides the schedule itself: how large the cluster is, what the network and the disks are like,
// what clients do, which faults come how often. All is drawn first; what is asked for otherwise replaces it
// afterwards, so that shrinking one thing leaves the others as they were drawn.
import { FAULT_KINDS, type FaultKind, faultSpec } from "./fault-kinds.ts";
import { type FaultOptions } from "./faults.ts";
import { type LinkQuality, PERFECT } from "./network-conditions.ts";
import { SeededChance } from "./seeded-chance.ts";
import { type WorkloadOptions } from "./workload.ts";

/** What replaces parts of a drawn plan. */
export interface Overrides {
  readonly nodes?: number | undefined;
  /** Draws the number of nodes from this range. */
  readonly nodesMin?: number | undefined;
  readonly nodesMax?: number | undefined;
  /** Virtual ms of the fault phase: clients begin nothing afterwards. */
  readonly ticksMs?: number | undefined;
  readonly operations?: number | undefined;
  readonly clients?: number | undefined;
  readonly keys?: number | undefined;
  /** Draws from every kind of fault, whatever the seed says. */
  readonly allFaults?: boolean | undefined;
  /** Only these kinds; each comes when it would have come beside the others. */
  readonly faults?: readonly FaultKind[] | undefined;
  /** Chance, each second and slice, that a leader is told to change a view for no reason. */
  readonly restlessness?: number | undefined;
  /** A network that only delays. */
  readonly calmNetwork?: boolean | undefined;
}

export interface Plan {
  readonly nodes: number;
  readonly copies: number;
  readonly zones: number;
  readonly syncMs: number;
  readonly driftPpm: number;
  readonly routing: "table" | "fingers";
  /** As in MachineOptions. */
  readonly joinAfterMs: number;
  readonly repairAfterMs: number;
  readonly restlessness: number;
  readonly quality: LinkQuality;
  readonly workload: WorkloadOptions;
  readonly faults: FaultOptions;
}

const safetyMs = 90_000; // clients begin nothing after so much virtual time
const operationsDefault = 150;

export function drawPlan(seed: number, overrides: Overrides = {}): Plan {
  const chance = new SeededChance(seed).fork("plan");
  const drawnNodes = chance.pick([1, 2, 3, 3, 4, 5, 5, 6, 7, 9, 12, 15]);
  const inRange = chance.fraction();
  const calm = chance.happens(0.15);
  const rate = (choices: readonly number[]): number => {
    const drawn = chance.pick(choices);
    return calm || overrides.calmNetwork === true ? 0 : drawn;
  };
  const { nodesMin, nodesMax } = overrides;
  const nodes =
    overrides.nodes ??
    (nodesMin === undefined || nodesMax === undefined
      ? drawnNodes
      : nodesMin + Math.floor(inRange * (nodesMax - nodesMin + 1)));
  const ownChance = new SeededChance(seed).fork("copies");
  const drawnKinds = FAULT_KINDS.filter((kind) =>
    (kind === "change copies" ? ownChance : chance).happens(0.5),
  );
  const kinds = overrides.allFaults === true ? FAULT_KINDS : calm ? [] : drawnKinds;
  const without = kinds.filter((kind) => isLeftOut(kind, overrides.faults, nodes));
  const drawnClients = 2 + chance.below(5);
  // Faults are drawn to fall among the operations: how long these take if nothing breaks decides the rest.
  const durationMs = overrides.ticksMs ?? chance.pick([2_000, 5_000, 15_000, 40_000]);
  const planned = Math.round(operationsDefault * Math.max(1, durationMs / 40_000));
  const five = chance.happens(0.2);
  const copies = nodes < 3 ? 1 : nodes >= 5 && five ? 5 : 3;
  const manyDown = chance.happens(0.3);
  return {
    nodes,
    copies,
    zones: chance.pick([1, 1, 3]),
    syncMs: chance.pick([0, 1, 5]),
    driftPpm: chance.pick([0, 200, 10_000]),
    routing: chance.happens(0.25) ? "fingers" : "table",
    ...drawViews(new SeededChance(seed).fork("views"), overrides),
    quality: {
      delayMs: chance.pick([0.5, 1, 5]),
      jitterMs: rate([0, 2, 20]),
      loss: rate([0, 0.005, 0.02, 0.05]),
      duplication: rate([0, 0, 0.02]),
      reordering: rate([0, 0, 0.05]),
      spikes: rate([0, 0.01, 0.03]),
      spikeMs: chance.pick([500, 2_000, 8_000]),
      corruption: rate([0, 0, 0, 0.002]),
    },
    workload: {
      clients: overrides.clients ?? drawnClients,
      operations: overrides.operations ?? planned,
      keys: overrides.keys ?? chance.pick([2, 4, 8, 12]),
      logs: overrides.keys === undefined ? chance.pick([0, 1, 2]) : 0,
      reads: chance.pick([0.3, 0.5, 0.7]),
      large: chance.pick([0, 0.05, 0.15]),
      thinkMs: Math.round((2 * durationMs * drawnClients) / planned),
      untilMs: overrides.ticksMs ?? safetyMs,
    },
    faults: {
      kinds,
      without,
      copiesEveryMs: durationMs / ownChance.pick([0.5, 1, 4]),
      everyMs: durationMs / chance.pick([6, 15, 40]),
      lastMs: durationMs * chance.pick([0.05, 0.15, 0.4]),
      downMax: manyDown ? nodes : Math.max(1, (Math.min(copies, nodes) - 1) >> 1, nodes >> 2),
    },
  };
}

/** Views that change as in production, or soon, or all the time. */
function drawViews(
  chance: SeededChance,
  overrides: Overrides,
): Pick<Plan, "joinAfterMs" | "repairAfterMs" | "restlessness"> {
  return {
    joinAfterMs: chance.pick([500, 3_000, 60_000]),
    repairAfterMs: chance.pick([500, 3_000, 60_000]),
    restlessness: overrides.restlessness ?? chance.pick([0, 0, 0.01, 0.05, 0.3]),
  };
}

function isLeftOut(kind: FaultKind, asked: Overrides["faults"], nodes: number): boolean {
  if (faultSpec(kind).nodesMin > nodes) return true;
  return asked !== undefined && !asked.includes(kind);
}

/** Kinds that a run can have. */
export const activeKinds = ({ kinds, without }: FaultOptions): FaultKind[] =>
  kinds.filter((kind) => !without.includes(kind));

/** The plan in one line, for people. */
export function describePlan(seed: number, plan: Plan): string {
  const { quality, workload, faults } = plan;
  const network = Object.entries(quality)
    .filter(([name, value]) => value !== PERFECT[name as keyof LinkQuality])
    .map(([name, value]) => `${name} ${value}`);
  return [
    `seed ${seed}: ${plan.nodes} nodes, ${plan.copies} copies, ${plan.zones} zones, sync ${plan.syncMs} ms`,
    `drift ${plan.driftPpm} ppm, ${plan.routing}`,
    `views after ${plan.joinAfterMs} and ${plan.repairAfterMs} ms, restless ${plan.restlessness}`,
    `network [${network.join(", ")}]`,
    `${workload.clients} clients, ${workload.keys} keys, ${workload.logs} logs, reads ${workload.reads}`,
    `large ${workload.large}, think ${workload.thinkMs} ms`,
    `faults [${activeKinds(faults).join(", ")}] every ${Math.round(faults.everyMs)} ms up to ${Math.round(faults.lastMs)} ms, down ${faults.downMax}`,
  ].join("; ");
}
