// A schedule of faults drawn from the seed. Which kinds a run has is drawn too, so that some runs have only one kind
// and others all.
import { type FaultKind, faultSpec } from "./fault-kinds.ts";
import { type SeededChance } from "./seeded-chance.ts";
import { type World } from "./world.ts";

export interface FaultOptions {
  /** Kinds that are drawn from. */
  readonly kinds: readonly FaultKind[];
  /** Kinds that are passed over when they are drawn: the others come when they would have come. */
  readonly without: readonly FaultKind[];
  /** Mean virtual time between two faults. */
  readonly everyMs: number;
  /** Mean virtual time between two changes of the number of copies. */
  readonly copiesEveryMs?: number | undefined;
  /** Longest time that one fault lasts, unless its kind says otherwise. */
  readonly lastMs: number;
  /** Nodes that may be down or paused at a time; "crash all" does not care. */
  readonly downMax: number;
}

export class Faults {
  readonly injected = new Map<FaultKind, number>();
  readonly #world: World;
  readonly #options: FaultOptions;
  readonly #chance: SeededChance;
  /** Of the changes of copies: they come beside the other faults and change nothing of when those come. */
  readonly #copiesChance: SeededChance;
  readonly #away = new Set<number>();
  #drawn = 0;
  #changes = 0;
  #ended = false;

  constructor(world: World, options: FaultOptions) {
    this.#world = world;
    this.#options = options;
    this.#chance = world.chance.fork("faults");
    this.#copiesChance = world.chance.fork("changes of copies");
  }

  /** Begins to inject; ends with end(). */
  begin(): void {
    this.#next();
    const { kinds, copiesEveryMs } = this.#options;
    if (copiesEveryMs !== undefined && kinds.includes("change copies"))
      this.#nextCopies(copiesEveryMs);
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
      this.#inject(this.#draw());
      this.#next();
    });
  }

  #nextCopies(everyMs: number): void {
    const waitMs = this.#copiesChance.range(0.2, 1.8) * everyMs;
    this.#world.clock.after(waitMs, () => {
      if (this.#ended) return;
      this.#begin("change copies", this.#copiesChance.fork(`change ${this.#changes++}`), 0);
      this.#nextCopies(everyMs);
    });
  }

  #draw(): FaultKind {
    const { kinds } = this.#options;
    const total = kinds.reduce((sum, kind) => sum + faultSpec(kind).weight, 0);
    let left = this.#chance.fraction() * total;
    for (const kind of kinds) if ((left -= faultSpec(kind).weight) < 0) return kind;
    return kinds[0]!;
  }

  #inject(kind: FaultKind): void {
    // Each fault draws for itself: leaving one out changes no other.
    const chance = this.#chance.fork(`fault ${this.#drawn++}`);
    this.#begin(kind, chance, chance.range(0.05, 1) * this.#options.lastMs);
  }

  #begin(kind: FaultKind, chance: SeededChance, lastMs: number): void {
    const world = this.#world;
    if (this.#options.without.includes(kind) || world.size < faultSpec(kind).nodesMin) return;
    const end = faultSpec(kind).begin({
      world,
      chance,
      lastMs,
      mayTakeAway: (i) => !this.#away.has(i) && this.#away.size < this.#options.downMax,
      later: (afterMs, action) => this.#later(afterMs, action),
    });
    if (end === "none") return;
    this.injected.set(kind, (this.injected.get(kind) ?? 0) + 1);
    if (!end) return;
    const { away, undo } = end;
    if (away !== undefined) this.#away.add(away);
    this.#later(end.afterMs ?? lastMs, () => {
      if (away !== undefined) this.#away.delete(away);
      undo();
    });
  }

  #later(afterMs: number, action: () => void): void {
    this.#world.clock.after(afterMs, () => {
      if (!this.#ended) action();
    });
  }
}
