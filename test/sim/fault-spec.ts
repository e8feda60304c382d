// What a fault of the simulator is: how often it comes, what it needs, and what it does.
import { type Undo } from "./network-conditions.ts";
import { type SeededChance } from "./seeded-chance.ts";
import { type World } from "./world.ts";

/** What a fault works with. */
export interface FaultScene {
  readonly world: World;
  readonly chance: SeededChance;
  /** How long it is to last, in virtual ms. */
  readonly lastMs: number;
  /** Whether one more node may be down or paused now. */
  readonly mayTakeAway: (i: number) => boolean;
  /** Does something after so much virtual time, unless all faults ended before. */
  readonly later: (afterMs: number, action: () => void) => void;
}

export interface FaultSpec {
  /** How often it comes, beside the others; 0: they are drawn as if it were not there. */
  readonly weight: number;
  /** Nodes that the fault needs. */
  readonly nodesMin: number;
  /** Begins the fault. "none": nothing could be done now, and nothing is counted. */
  readonly begin: (scene: FaultScene) => FaultEnd | undefined | "none";
}

export interface FaultEnd {
  readonly undo: Undo;
  /** The node that is away until then. */
  readonly away?: number;
  /** When it ends, if not after the drawn time. */
  readonly afterMs?: number;
}

export const anyNode = ({ world, chance }: FaultScene): number => chance.below(world.size);
