// Sums over the seeds of one command.
import { type SeedResult } from "./seed-result.ts";

export class Totals {
  seeds = 0;
  readonly failed: number[] = [];
  readonly #sums = new Map<string, number>();
  readonly #faults = new Map<string, number>();
  readonly #outcomes = new Map<string, number>();
  readonly #longest = new Map<string, number>();
  #cpuMs = 0;

  add({ seed, violations, counts, cpuMs }: SeedResult): void {
    this.seeds++;
    this.#cpuMs += cpuMs;
    if (violations.length > 0) this.failed.push(seed);
    const { operations, leaders, campaigns, viewChanges, messages, virtualMs } = counts;
    addAll(this.#sums, { operations, leaders, campaigns, viewChanges, messages, virtualMs });
    addAll(this.#faults, counts.faults);
    addAll(this.#faults, counts.messageFaults);
    addAll(this.#outcomes, counts.outcomes);
    const { serviceMs, ringMs, replicasMs, copiesMs } = counts;
    for (const [name, ms] of Object.entries({ serviceMs, ringMs, replicasMs, copiesMs }))
      this.#longest.set(name, Math.max(this.#longest.get(name) ?? 0, ms));
  }

  lines(): string[] {
    const sum = (name: string): number => this.#sums.get(name) ?? 0;
    const seconds = (name: string): string =>
      `${((this.#longest.get(name) ?? 0) / 1000).toFixed(1)} s`;
    const all = (counts: ReadonlyMap<string, number>): string =>
      [...counts]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, count]) => `${name} ${count}`)
        .join(", ");
    return [
      `${this.seeds} seeds, ${this.failed.length} with violations`,
      `operations ${sum("operations")} (${all(this.#outcomes)})`,
      `elections: ${sum("campaigns")} campaigns, ${sum("leaders")} leaders; view changes ${sum("viewChanges")}`,
      `faults: ${all(this.#faults)}`,
      `messages ${sum("messages")}, virtual time ${(sum("virtualMs") / 3_600_000).toFixed(2)} h`,
      `longest from the heal: all nodes serve ${seconds("serviceMs")}, ring whole ${seconds("ringMs")}, replicas equal ${seconds("replicasMs")}, all copies of blocks ${seconds("copiesMs")}`,
      `CPU ${(this.#cpuMs / 1000).toFixed(1)} s, ${(this.#cpuMs / Math.max(1, this.seeds)).toFixed(0)} ms a seed`,
    ];
  }
}

function addAll(sums: Map<string, number>, counts: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(counts)) sums.set(name, (sums.get(name) ?? 0) + count);
}
