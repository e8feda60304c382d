// `npm run sim -- --seed 7`: runs seeds of the simulator and tells what happened. Exit status 1 on a violation.
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { FAULT_KINDS, type FaultKind } from "./fault-kinds.ts";
import { Journal } from "./journal.ts";
import { type Overrides } from "./plan.ts";
import { runSeeds } from "./run-seeds.ts";
import { runSeed, type SeedResult } from "./seed-result.ts";
import { flagsOf, shrink } from "./shrink.ts";
import { Totals } from "./totals.ts";

const USAGE = `npm run sim -- [flags]
  --seed N         first seed; random when not given
  --seeds K        K seeds from N on
  --soak MINUTES   new seeds until the first violation, or until the time is over
  --nodes N | A-B  nodes of genesis, or drawn from a range
  --ticks N        virtual ms of the phase with faults
  --ops N --clients N --keys N
  --all-faults     draws from every kind of fault
  --faults KINDS   only these kinds, by commas; "" for none
  --calm-network   no loss, doubling, overtaking, corruption
  --jobs N         processes; all cores when not given
  --journal FILE   notes what each seed came to there; the same command goes on where it was ended
  --shrink         makes a failing seed smaller
  --log            prints warnings and errors of the nodes`;

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    soak: { type: "string" },
    nodes: { type: "string" },
    ticks: { type: "string" },
    ops: { type: "string" },
    clients: { type: "string" },
    keys: { type: "string" },
    "all-faults": { type: "boolean", default: false },
    faults: { type: "string" },
    "calm-network": { type: "boolean", default: false },
    jobs: { type: "string" },
    journal: { type: "string" },
    shrink: { type: "boolean", default: false },
    log: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

function integer(name: keyof typeof values, min = 0): number | undefined {
  const text = values[name];
  if (typeof text !== "string") return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < min)
    throw new Error(`Cannot read --${name} from "${text}": not a whole number of at least ${min}`);
  return value;
}

function kindsOf(text: string): readonly FaultKind[] {
  return text
    .split(",")
    .filter((kind) => kind !== "")
    .map((kind) => {
      const found = FAULT_KINDS.find((known) => known === kind);
      if (found) return found;
      throw new Error(`Cannot read --faults: no kind "${kind}" among ${FAULT_KINDS.join(", ")}`);
    });
}

function readOverrides(): Overrides {
  const range = /^(\d+)-(\d+)$/u.exec(values.nodes ?? "");
  return {
    nodes: range ? undefined : integer("nodes", 1),
    nodesMin: range ? Number(range[1]) : undefined,
    nodesMax: range ? Number(range[2]) : undefined,
    ticksMs: integer("ticks", 1),
    operations: integer("ops", 1),
    clients: integer("clients", 1),
    keys: integer("keys", 1),
    allFaults: values["all-faults"] ? true : undefined,
    faults: values.faults === undefined ? undefined : kindsOf(values.faults),
    calmNetwork: values["calm-network"] ? true : undefined,
  };
}

function tell(result: SeedResult, overrides: Overrides): void {
  const { counts, violations, trace } = result;
  console.log(result.plan);
  const faults = Object.entries(counts.faults).map(([name, count]) => `${name} ${count}`);
  console.log(
    `  ${counts.operations} operations, ${counts.messages} messages, ${counts.leaders} leaders, faults: ${faults.join(", ")}`,
  );
  for (const line of result.log) console.log(`  ${line}`);
  for (const violation of violations) console.log(`  VIOLATION ${violation}`);
  const took = `${Math.round(counts.virtualMs / 1000)} s in ${Math.round(result.cpuMs)} ms`;
  console.log(`  ${violations.length === 0 ? "no violation; " : ""}trace ${trace}; ${took}`);
  if (violations.length > 0)
    console.log(`  again: npm run sim -- ${flagsOf(result.seed, overrides)} --log`);
}

function* seedsFrom(first: number, count: number, untilMs: number): Generator<number> {
  for (let i = 0; i < count && performance.now() < untilMs; i++) yield first + i;
}

function openJournal(run: string): Journal | undefined {
  if (values.journal === undefined) return undefined;
  if (values.seed === undefined) throw new Error("Cannot keep a journal without --seed");
  return new Journal(values.journal, run);
}

async function shrinkSeed(seed: number, overrides: Overrides): Promise<void> {
  const fails = async (tried: Overrides): Promise<boolean> =>
    (await runSeed({ seed, overrides: tried, log: false })).violations.length > 0;
  const smallest = await shrink(seed, overrides, fails, (tried, failed) => {
    console.log(`  ${failed ? "fails" : "passes"}: ${flagsOf(seed, tried)}`);
  });
  tell(await runSeed({ seed, overrides: smallest, log: values.log }), smallest);
  console.log(`smallest: npm run sim -- ${flagsOf(seed, smallest)}`);
}

async function main(): Promise<void> {
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const overrides = readOverrides();
  const soakMinutes = integer("soak", 1);
  const first = integer("seed") ?? Math.floor(Math.random() * 1_000_000_000);
  const seeds = integer("seeds", 1) ?? (soakMinutes === undefined ? 1 : Infinity);
  const jobs = Math.min(integer("jobs", 1) ?? availableParallelism(), seeds);
  const untilMs = soakMinutes === undefined ? Infinity : performance.now() + soakMinutes * 60_000;
  const quiet = seeds > 20;
  const totals = new Totals();
  const journal = openJournal(`${flagsOf(first, overrides)} --seeds ${seeds}`);
  const known = new Set(journal?.results.map(({ seed }) => seed));
  for (const result of journal?.results ?? []) totals.add(result);
  console.log(`from seed ${first}${known.size > 0 ? `, ${known.size} seeds known` : ""}`);
  await runSeeds({
    overrides,
    jobs,
    log: values.log,
    seeds: seedsFrom(first, seeds, untilMs).filter((seed) => !known.has(seed)),
    onResult: (result) => {
      totals.add(result);
      journal?.add(result);
      const failed = result.violations.length > 0;
      if (!quiet || failed) tell(result, overrides);
      else if (totals.seeds % 100 === 0) console.log(`${totals.seeds} seeds`);
      return !(failed && soakMinutes !== undefined);
    },
  });
  for (const line of totals.lines()) console.log(line);
  const failed = totals.failed.toSorted((a, b) => a - b);
  if (failed.length > 0) {
    console.log(`failed: ${failed.join(" ")}`);
    process.exitCode = 1;
    if (values.shrink) await shrinkSeed(failed[0]!, overrides);
  }
}

await main();
