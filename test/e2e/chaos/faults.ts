// Faults of real processes and of the network between them, drawn from the seed. A fault begins, lasts, and is healed
// as a whole.
import { type SeededChance } from "../../sim/seeded-chance.ts";
import { type ChaosCluster } from "./chaos-cluster.ts";
import { type Condition } from "./relay.ts";

export const FAULT_KINDS = [
  "kill",
  "kill two",
  "kill all",
  "pause",
  "split",
  "isolate",
  "one-way",
  "cut one link",
  "slow links",
  "clock",
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

const WEIGHT: Record<FaultKind, number> = {
  kill: 4,
  "kill two": 1,
  "kill all": 1,
  pause: 3,
  split: 3,
  isolate: 3,
  "one-way": 2,
  "cut one link": 2,
  "slow links": 1,
  clock: 2,
};

/** What can be drawn on this cluster. */
export function possibleFaults(cluster: ChaosCluster): FaultKind[] {
  return FAULT_KINDS.filter((kind) => kind !== "clock" || cluster.setsClocks);
}

export function drawKind(chance: SeededChance, kinds: readonly FaultKind[]): FaultKind {
  let draw = chance.fraction() * kinds.reduce((sum, kind) => sum + WEIGHT[kind], 0);
  for (const kind of kinds) if ((draw -= WEIGHT[kind]) < 0) return kind;
  return kinds.at(-1)!;
}

/** Lets a fault begin. Resolves with what happened, in a few words. */
export async function begin(
  kind: FaultKind,
  cluster: ChaosCluster,
  chance: SeededChance,
): Promise<string> {
  const up = chance.shuffle(cluster.running());
  const all = chance.shuffle([...cluster.nodes, ...cluster.gateways]);
  const [one, other] = up as [string, string];
  switch (kind) {
    case "kill":
    case "kill two":
    case "kill all": {
      const victims = up.slice(0, kind === "kill" ? 1 : kind === "kill two" ? 2 : up.length);
      await Promise.all(victims.map((name) => cluster.kill(name)));
      return `${kind}: ${victims.join(", ")}`;
    }
    case "pause":
      cluster.pause(one);
      return `pause: ${one}`;
    case "split": {
      const passage = drawPassage(chance);
      const half = chance.shuffle(cluster.nodes).slice(0, cluster.nodes.length >> 1);
      // A gateway on either side: so clients ask both.
      const side = new Set([...half, cluster.gateways[0]!]);
      for (const a of side)
        for (const b of all) if (!side.has(b)) cluster.relays.setBoth(a, b, { passage });
      return `split (${passage}): ${[...side].join(", ")}`;
    }
    case "isolate": {
      const passage = drawPassage(chance);
      for (const b of all) if (b !== one) cluster.relays.setBoth(one, b, { passage });
      return `isolate (${passage}): ${one}`;
    }
    case "one-way": {
      const passage = drawPassage(chance);
      const deaf = all.filter((name) => name !== one).slice(0, 1 + chance.below(all.length - 1));
      for (const b of deaf) cluster.relays.set(one, b, { passage });
      return `one-way (${passage}): ${one} to ${deaf.join(", ")}`;
    }
    case "cut one link": {
      const passage = drawPassage(chance);
      cluster.relays.setBoth(one, other, { passage });
      return `cut one link (${passage}): ${one}, ${other}`;
    }
    case "slow links": {
      const delayMs = chance.range(1, 150);
      const jitterMs = chance.range(0, delayMs);
      const bytesPerSecond = chance.happens(0.3) ? 200_000 : 0;
      const slow = chance.happens(0.5) ? [one] : all;
      for (const a of slow)
        for (const b of all)
          if (a !== b) cluster.relays.setBoth(a, b, { delayMs, jitterMs, bytesPerSecond });
      return `slow links (${delayMs.toFixed(0)} ms): ${slow.join(", ")}`;
    }
    case "clock": {
      // Within what gateways and nodes accept of each other, or far outside of it.
      const seconds = Math.round(chance.pick([chance.range(-600, 600), 3_600, -3_600]));
      cluster.setClock(one, seconds);
      return `clock: ${one} ${seconds} s`;
    }
  }
}

/** Ends all that is under way: links open, processes go on or start again, clocks right. */
export async function heal(cluster: ChaosCluster): Promise<void> {
  cluster.relays.heal();
  await Promise.all(
    cluster.nodes.map(async (name) => {
      cluster.resume(name);
      if (cluster.setsClocks) cluster.setClock(name, 0);
      if (cluster.isDown(name) && !cluster.isLost(name)) await cluster.run(name);
    }),
  );
}

function drawPassage(chance: SeededChance): Condition["passage"] {
  return chance.pick(["held", "swallowed", "cut"]);
}
