// A schedule of faults drawn from the seed: crashes with power loss, clean restarts, pauses, cut links (symmetric,
// one-way, non-transitive), slow nodes and disks, wrong wall clocks. Which of them a run has is drawn too, so that
// some runs have only one kind and others all.
import { type SeededChance } from "./seeded-chance.ts";
import { type World } from "./world.ts";

export const FAULT_KINDS = [
  "crash",
  "restart",
  "crash all",
  "pause",
  "split",
  "isolate",
  "one-way",
  "cut one link",
  "slow node",
  "slow disk",
  "wall clock",
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export interface FaultOptions {
  readonly kinds: readonly FaultKind[];
  /** Mean virtual time between two faults. */
  readonly everyMs: number;
  /** Longest time that one fault lasts. */
  readonly lastMs: number;
  /** Nodes that may be down or paused at a time; "crash all" does not care. */
  readonly downMax: number;
}

const WEIGHT: Record<FaultKind, number> = {
  crash: 4,
  restart: 1,
  "crash all": 0.5,
  pause: 2,
  split: 2,
  isolate: 2,
  "one-way": 1,
  "cut one link": 2,
  "slow node": 1,
  "slow disk": 1,
  "wall clock": 1,
};

export class Faults {
  readonly injected = new Map<FaultKind, number>();
  readonly #world: World;
  readonly #options: FaultOptions;
  readonly #chance: SeededChance;
  readonly #away = new Set<number>();
  #ended = false;

  constructor(world: World, options: FaultOptions) {
    this.#world = world;
    this.#options = options;
    this.#chance = world.chance.fork("faults");
  }

  /** Begins to inject; ends with end(). */
  begin(): void {
    this.#next();
  }

  /** No more faults; those under way are ended by World.heal(). */
  end(): void {
    this.#ended = true;
  }

  #next(): void {
    if (this.#options.kinds.length === 0) return;
    const waitMs = this.#chance.range(0.2, 1.8) * this.#options.everyMs;
    this.#world.clock.after(waitMs, () => {
      if (this.#ended) return;
      const kind = this.#draw();
      this.injected.set(kind, (this.injected.get(kind) ?? 0) + 1);
      this.#inject(kind);
      this.#next();
    });
  }

  #draw(): FaultKind {
    const { kinds } = this.#options;
    const total = kinds.reduce((sum, kind) => sum + WEIGHT[kind], 0);
    let left = this.#chance.fraction() * total;
    for (const kind of kinds) if ((left -= WEIGHT[kind]) < 0) return kind;
    return kinds[0]!;
  }

  #inject(kind: FaultKind): void {
    const world = this.#world;
    const { conditions } = world;
    const chance = this.#chance;
    const all = Array.from({ length: world.size }, (_, i) => i);
    const i = chance.below(world.size);
    const lastMs = chance.range(0.05, 1) * this.#options.lastMs;
    const later = (action: () => void): void => {
      world.clock.after(lastMs, () => {
        if (!this.#ended) action();
      });
    };
    switch (kind) {
      case "crash":
        return this.#takeAway(
          i,
          lastMs,
          () => world.crash(i),
          () => void world.restart(i),
        );
      case "restart":
        return this.#takeAway(
          i,
          lastMs,
          () => void world.shutDown(i),
          () => void world.restart(i),
        );
      case "pause":
        return this.#takeAway(
          i,
          lastMs,
          () => world.pause(i),
          () => world.resume(i),
        );
      case "crash all":
        for (const node of all) {
          world.crash(node);
          // Each comes back by itself: they do not see each other in the same state.
          world.clock.after(chance.fraction() * lastMs, () => {
            if (!this.#ended) void world.restart(node);
          });
        }
        return;
      case "split": {
        const order = chance.shuffle(all);
        const size = 1 + chance.below(world.size - 1);
        conditions.cut(world.addresses(order.slice(0, size)), world.addresses(order.slice(size)));
        return later(() => conditions.mendLinks());
      }
      case "isolate":
        conditions.cut([world.address(i)], world.addresses(all));
        return later(() => conditions.mendLinks());
      case "one-way":
        if (chance.happens(0.5)) conditions.cutOneWay([world.address(i)], world.addresses(all));
        else conditions.cutOneWay(world.addresses(all), [world.address(i)]);
        return later(() => conditions.mendLinks());
      case "cut one link": {
        const other = (i + 1 + chance.below(world.size - 1)) % world.size;
        conditions.cut([world.address(i)], [world.address(other)]);
        return later(() => conditions.mendLinks());
      }
      case "slow node":
        conditions.slow(world.address(i), chance.range(20, 1_500));
        return later(() => conditions.slow(world.address(i), 0));
      case "slow disk":
        world.slowDisk(i, chance.range(5, 500));
        return later(() => world.slowDisk(i, 1));
      case "wall clock":
        world.setWall(i, chance.range(-3_600_000, 3_600_000));
        return later(() => world.setWall(i, 0));
    }
  }

  #takeAway(i: number, lastMs: number, away: () => void, back: () => void): void {
    if (this.#away.has(i) || this.#away.size >= this.#options.downMax) return;
    this.#away.add(i);
    away();
    this.#world.clock.after(lastMs, () => {
      this.#away.delete(i);
      if (!this.#ended) back();
    });
  }
}
