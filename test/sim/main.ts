// `npm run sim -- --seed 7`: runs seeds of the simulator and tells what happened. Exit status 1 on a violation.
import { parseArgs } from "node:util";
import { describePlan, drawPlan, simulate } from "./simulation.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string", default: "1" },
    nodes: { type: "string" },
    ops: { type: "string" },
    /** Prints warnings and errors of the nodes. */
    log: { type: "boolean", default: false },
  },
});

function integer(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0)
    throw new Error(`Cannot read --${name} from "${text}": not a natural number`);
  return value;
}

const first = integer(values.seed, "seed") ?? Math.floor(Math.random() * 1_000_000);
const nodes = integer(values.nodes, "nodes");
const operations = integer(values.ops, "ops");
const seeds = integer(values.seeds, "seeds") ?? 1;
let violated = 0;
for (let seed = first; seed < first + seeds; seed++) {
  const options = { seed, nodes, operations };
  console.log(describePlan({ seed, plan: drawPlan(options) }));
  const startedMs = performance.now();
  const report = await simulate(options);
  const counts = Object.entries(report.counts).map(([name, count]) => `${name} ${count}`);
  console.log(`  ${counts.join(", ")}`);
  const took = `${Math.round(report.virtualMs / 1000)} s in ${Math.round(performance.now() - startedMs)} ms`;
  if (report.violations.length === 0) {
    console.log(`  no violation; trace ${report.trace}; ${took}`);
  } else {
    violated++;
    for (const violation of report.violations) console.log(`  VIOLATION ${violation}`);
    console.log(`  trace ${report.trace}; ${took}`);
  }
  if (values.log) {
    for (const { atMs, node, level, event, fields } of report.world.log)
      if (level !== "info")
        console.log(
          `  ${atMs.toFixed(1)} node ${node} ${level}: ${event} ${JSON.stringify(fields ?? {})}`,
        );
  }
}
console.log(`${seeds} seeds, ${violated} with violations`);
process.exitCode = violated > 0 ? 1 : 0;
