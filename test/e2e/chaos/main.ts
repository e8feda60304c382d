// `npm run chaos -- --minutes 30 --seed 7`: real processes under faults, and a verdict. Exit status 1 on a violation;
// then the folder with data, logs and history is kept, and named. With --kills, --races, --partition or --idle one
// measurement instead (measure.ts).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runChaos, tell } from "./chaos-run.ts";
import { measurements } from "./measure.ts";
import { type Condition } from "./relay.ts";

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1.5" },
    seed: { type: "string" },
    nodes: { type: "string", default: "5" },
    clients: { type: "string", default: "8" },
    /** Keeps the folder of a run without a violation too. */
    keep: { type: "boolean", default: false },
    kills: { type: "string" },
    races: { type: "string" },
    /** held, swallowed or cut. */
    partition: { type: "string" },
    resize: { type: "string" },
    /** Seconds. */
    idle: { type: "string" },
  },
});

function number(name: "minutes" | "seed" | "nodes" | "clients", least: number): number {
  const value = Number(values[name]);
  if (!(value >= least)) throw new Error(`Cannot read --${name} from "${values[name]}"`);
  return value;
}

async function chaos(): Promise<readonly string[]> {
  const seed = values.seed === undefined ? Math.floor(Math.random() * 1e6) : number("seed", 0);
  const folder = mkdtempSync(join(tmpdir(), "ringstow-chaos-"));
  console.log(`seed ${seed}, folder ${folder}`);
  const report = await runChaos({
    folder,
    seed,
    seconds: 60 * number("minutes", 0),
    nodes: number("nodes", 3),
    clients: number("clients", 1),
    say: (line) => console.log(line),
  });
  console.log(`seed        ${seed}`);
  for (const line of tell(report)) console.log(line);
  if (report.violations.length > 0 || values.keep) console.log(`kept        ${folder}`);
  else rmSync(folder, { recursive: true, force: true });
  return report.violations;
}

async function measureOrChaos(): Promise<readonly string[]> {
  if (values.kills !== undefined) return measurements.kills(Number(values.kills));
  if (values.races !== undefined) return measurements.races(Number(values.races));
  if (values.resize !== undefined) return measurements.resize(Number(values.resize));
  if (values.idle !== undefined) return measurements.idle(Number(values.idle));
  if (values.partition !== undefined)
    return measurements.partition(values.partition as Condition["passage"]);
  return chaos();
}

const violations = await measureOrChaos();
for (const violation of violations) console.log(`VIOLATION   ${violation}`);
console.log(violations.length === 0 ? "verdict     as promised" : "verdict     violated");
process.exitCode = violations.length === 0 ? 0 : 1;
