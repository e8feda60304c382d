// One run: clients work while one fault after the other comes and is healed; in the end everything is healed, every
// key is read once more, replicas must become equal, and the histories are checked.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { History } from "../../sim/history.ts";
import { SeededChance } from "../../sim/seeded-chance.ts";
import { differingSlices } from "../node-answers.ts";
import { until } from "../dev-cluster.ts";
import { ChaosCluster, findFakeTime } from "./chaos-cluster.ts";
import { Clients } from "./clients.ts";
import { type FaultKind, begin, drawKind, heal, possibleFaults } from "./faults.ts";
import { type Recovery, recover } from "./recovery.ts";
import { Timings, quantile } from "./timings.ts";

export interface ChaosRunOptions {
  readonly folder: string;
  readonly seed: number;
  readonly seconds: number;
  readonly nodes: number;
  readonly clients: number;
  /** Told as it happens. */
  readonly say: (line: string) => void;
}

export interface ChaosReport {
  readonly violations: readonly string[];
  readonly faults: ReadonlyMap<string, number>;
  readonly timings: Timings;
  readonly recoveries: readonly (Recovery & { readonly from: string })[];
  readonly reasons: ReadonlyMap<string, number>;
  readonly keys: number;
}

export async function runChaos(options: ChaosRunOptions): Promise<ChaosReport> {
  const { folder, seed, nodes, say } = options;
  const chance = new SeededChance(seed);
  mkdirSync(folder, { recursive: true });
  const jitter = chance.fork("relays");
  const cluster = await ChaosCluster.start({
    folder,
    nodes,
    gateways: 2,
    fraction: () => jitter.fraction(),
    fakeTime: findFakeTime(),
  });
  if (!cluster.setsClocks)
    say("no wrong clocks: libfaketime is not installed (package libfaketime)");
  const history = new History();
  const timings = new Timings();
  const clients = new Clients({
    dev: cluster.dev,
    endpoints: cluster.endpoints,
    chance: chance.fork("clients"),
    history,
    timings,
    clients: options.clients,
  });
  const run = new Run(options, cluster, clients, timings, chance.fork("faults"));
  const violations: string[] = [];
  try {
    await run.whole();
  } catch (error) {
    violations.push(error instanceof Error ? (error.stack ?? String(error)) : String(error));
  } finally {
    clients.destroy();
    await cluster.stop();
    const keys = Object.fromEntries(history.keys().map((key) => [key, history.of(key)]));
    writeFileSync(join(folder, "history.json"), JSON.stringify(keys));
  }
  violations.push(...clients.defects.slice(0, 20), ...history.violations());
  const { faults, recoveries } = run;
  const { reasons } = clients;
  return { violations, faults, timings, recoveries, reasons, keys: history.keys().length };
}

class Run {
  readonly faults = new Map<string, number>();
  readonly recoveries: (Recovery & { from: string })[] = [];
  readonly #options: ChaosRunOptions;
  readonly #cluster: ChaosCluster;
  readonly #clients: Clients;
  readonly #timings: Timings;
  readonly #chance: SeededChance;
  readonly #startedMs = performance.now();

  constructor(
    options: ChaosRunOptions,
    cluster: ChaosCluster,
    clients: Clients,
    timings: Timings,
    chance: SeededChance,
  ) {
    this.#options = options;
    this.#cluster = cluster;
    this.#clients = clients;
    this.#timings = timings;
    this.#chance = chance;
  }

  async whole(): Promise<void> {
    const { seconds } = this.#options;
    const wipeAt = this.#chance.range(0.4, 0.8) * seconds * 1000;
    this.#clients.run();
    await this.#pass(1_000, 2_000);
    let wiped = false;
    while (this.#elapsedMs() < seconds * 1000) {
      if (!wiped && this.#elapsedMs() > wipeAt) {
        wiped = true;
        await this.#wipe();
      }
      await this.#oneFault();
      await this.#pass(500, 3_000);
    }
    await this.#clients.quiet();
    this.#say("reading all keys");
    await this.#clients.readAll();
    await this.#converged();
  }

  async #oneFault(): Promise<void> {
    const cluster = this.#cluster;
    const kinds = possibleFaults(cluster);
    const drawn = new Set<FaultKind>([drawKind(this.#chance, kinds)]);
    if (this.#chance.happens(0.25)) drawn.add(drawKind(this.#chance, kinds));
    const told: string[] = [];
    for (const kind of drawn) {
      if (cluster.running().length < 2) break;
      const what = await begin(kind, cluster, this.#chance);
      this.#count(kind);
      told.push(what);
      this.#timings.during = told.join(" and ");
    }
    this.#say(told.join(" and "));
    await this.#pass(1_500, 12_000);
    await heal(cluster);
    this.#timings.during = `healed from ${told.join(" and ")}`;
    await this.#recover(told.join(" and "));
  }

  /** One node loses its disk for good: as many as a view of three survives. */
  async #wipe(): Promise<void> {
    const victim = this.#chance.pick(this.#cluster.running());
    this.#timings.during = `wipe: ${victim}`;
    this.#count("wipe");
    const reason = await this.#cluster.wipe(victim);
    this.#say(`wipe: ${victim}, which then said: ${reason}`);
    // Its peers need a moment to find that it is gone; the ring of the others is whole all the time.
    await this.#recover(`wipe: ${victim}`);
  }

  async #recover(from: string): Promise<void> {
    const recovery = await recover(this.#cluster);
    this.recoveries.push({ ...recovery, from });
    this.#timings.during = "nothing";
    this.#say(`  serves after ${recovery.servesMs} ms, one ring after ${recovery.ringMs} ms`);
  }

  /** Slices are equal on all that hold them, once nobody writes. */
  async #converged(): Promise<void> {
    const lost = this.#cluster.nodes.filter((name) => this.#cluster.isLost(name)).length;
    let last = 0;
    await until(
      "the replicas to be equal",
      async () => {
        const { differing } = await differingSlices(this.#cluster.kept, 3 - lost);
        last = differing.length;
        return last === 0 ? true : undefined;
      },
      120_000,
    ).catch((error: unknown) => {
      throw new Error(`${last} slices differ two minutes after the end`, { cause: error });
    });
  }

  #count(kind: string): void {
    this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1);
  }

  /** Lets clients work: how long is part of the schedule, nothing is waited for. */
  #pass(leastMs: number, mostMs: number): Promise<void> {
    const ms = this.#chance.range(leastMs, mostMs);
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  #elapsedMs(): number {
    return performance.now() - this.#startedMs;
  }

  #say(line: string): void {
    this.#options.say(`${(this.#elapsedMs() / 1000).toFixed(1).padStart(7)} s  ${line}`);
  }
}

/** The report for people, line by line. */
export function tell({ faults, timings, recoveries, reasons, keys }: ChaosReport): string[] {
  const counted = (counts: ReadonlyMap<string, number>): string =>
    [...counts]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, count]) => `${name} ${count}`)
      .join(", ");
  const serves = recoveries.map(({ servesMs }) => servesMs);
  const rings = recoveries.map(({ ringMs }) => ringMs);
  const spread = (values: readonly number[]): string =>
    `p50 ${quantile(values, 0.5)}, p99 ${quantile(values, 0.99)}, most ${quantile(values, 1)} ms`;
  const longest = timings.longestGap();
  const slowest = recoveries.toSorted((a, b) => b.servesMs - a.servesMs)[0];
  return [
    `faults      ${counted(faults)}`,
    `operations  ${timings.total()} on ${keys} keys: ${counted(timings.counts)}`,
    ...timings
      .latencies()
      .map(
        ([kind, { p50, p99, most }]) =>
          `latency     ${kind.padEnd(13)} p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(0)}, most ${most.toFixed(0)} ms`,
      ),
    longest
      ? `gap         ${Math.round(longest.ms)} ms without an acknowledged write, during: ${longest.during}`
      : "gap         never 500 ms without an acknowledged write",
    `recovery    serves again: ${spread(serves)} (${slowest?.from ?? "no fault"})`,
    `recovery    one ring: ${spread(rings)}`,
    ...[...reasons].slice(0, 8).map(([reason, count]) => `unknown     ${count} x ${reason}`),
  ];
}
