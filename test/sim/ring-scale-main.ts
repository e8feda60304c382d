// `npm run sim:ring`: simulated rings of 1,000 and 10,000 real route modules, and what they cost. All numbers are
// measured, but those per session: events per second times what one event was measured to cost.
import { parseArgs } from "node:util";
import {
  type ChurnLookups,
  type Hops,
  measureChurn,
  measureCrash,
  measureHops,
  measureJoin,
  measureQuiet,
  type Spread,
} from "./ring-measures.ts";
import { ScaleRing } from "./ring-scale.ts";
import { type Purpose } from "./ring-traffic.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    /** Sizes, separated by commas. */
    nodes: { type: "string", default: "1000,10000" },
    lookups: { type: "string", default: "4000" },
    /** The largest ring on which lookups under churn are measured: each event costs every node some work. */
    "churn-nodes": { type: "string", default: "1000" },
  },
});

const natural = (text: string, name: string): number => {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new Error(`Cannot read --${name} from "${text}": not a natural number`);
};
const seed = natural(values.seed, "seed");
const lookups = natural(values.lookups, "lookups");
const churnNodes = natural(values["churn-nodes"], "churn-nodes");
const sizes = values.nodes.split(",").map((text) => natural(text, "nodes"));

const daySeconds = 24 * 60 * 60;
const sessionSeconds = 30 * daySeconds;
const churnSessionMs = 600_000;

function table(title: string, rows: readonly Record<string, string | number>[]): void {
  const names = Object.keys(rows[0]!);
  const cells = [names, ...rows.map((row) => names.map((name) => String(row[name])))];
  const widths = names.map((_, column) => Math.max(...cells.map((line) => line[column]!.length)));
  console.log(`\n${title}`);
  for (const line of cells)
    console.log(`  ${line.map((cell, column) => cell.padStart(widths[column]!)).join("  ")}`);
}

function hopsRow(nodes: number, { mean, p99, max, expected }: Hops) {
  const off = `${(100 * (mean / expected - 1)).toFixed(1)} %`;
  return { nodes, mean: mean.toFixed(2), p99, max, expected: expected.toFixed(2), off };
}

function quietRow(nodes: number | string, { pings, compare, ring, news }: Record<Purpose, number>) {
  return {
    nodes,
    pings: pings.toFixed(1),
    "tables compared": compare.toFixed(1),
    "Chord's ring": ring.toFixed(1),
    news: news.toFixed(1),
    sum: (pings + compare + ring + news).toFixed(1),
  };
}

function spreadRow(nodes: number, event: string, spread: Spread) {
  return {
    nodes,
    event,
    "half know": `${spread.halfS.toFixed(1)} s`,
    "99 %": `${spread.mostS.toFixed(1)} s`,
    "all = rounds of 1 s": spread.allS.toFixed(1),
    "mean ignorance": `${spread.staleS.toFixed(1)} s`,
    "bytes a node": Math.round(spread.newsBytes),
  };
}

function sessionRow(nodes: number, join: Spread, crash: Spread) {
  const perSecond = nodes / sessionSeconds;
  const news = perSecond * (join.newsBytes + crash.newsBytes);
  const stale = (join.staleS + crash.staleS) / sessionSeconds;
  return {
    nodes,
    "events a second": (2 * perSecond).toFixed(4),
    "news, bytes a node and second": news.toFixed(2),
    "one hop": `${(100 * (1 - stale)).toFixed(5)} %`,
  };
}

function churnRow(nodes: number, routing: string, churn: ChurnLookups) {
  const share = (count: number): string => `${((100 * count) / churn.lookups).toFixed(2)} %`;
  return {
    nodes,
    routing,
    lookups: churn.lookups,
    events: churn.events,
    "one hop": share(churn.oneHop),
    "calls retried": churn.unanswered,
    "owner had just changed": churn.wrong,
    failed: churn.failed,
    slowest: `${Math.round(churn.slowestMs)} ms`,
  };
}

function progress(text: string): void {
  console.error(`${(performance.now() / 1000).toFixed(0)} s  ${text}`);
}

const rows = {
  hops: [] as ReturnType<typeof hopsRow>[],
  quiet: [] as ReturnType<typeof quietRow>[],
  spread: [] as ReturnType<typeof spreadRow>[],
  session: [] as ReturnType<typeof sessionRow>[],
  churn: [] as ReturnType<typeof churnRow>[],
};
for (const nodes of sizes) {
  progress(`${nodes} nodes: lookups by fingers`);
  const fingers = new ScaleRing({ nodes, seed, routing: "fingers" });
  rows.hops.push(hopsRow(nodes, await measureHops(fingers, lookups)));
  progress(`${nodes} nodes: start`);
  const ring = new ScaleRing({ nodes, seed });
  await ring.start();
  progress(`${nodes} nodes: quiet`);
  rows.quiet.push(quietRow(nodes, await measureQuiet(ring, 20_000)));
  progress(`${nodes} nodes: a join and a crash`);
  const join = await measureJoin(ring);
  const crash = await measureCrash(ring);
  rows.spread.push(spreadRow(nodes, "join", join), spreadRow(nodes, "crash", crash));
  progress(`${nodes} nodes: quiet, with a dead one in the table`);
  rows.quiet.push(quietRow(`${nodes}, one dead`, await measureQuiet(ring, 20_000)));
  rows.session.push(sessionRow(nodes, join, crash));
  if (ring.faults.length > 0) throw new Error(`Faults: ${JSON.stringify(ring.faults)}`);
  if (nodes > churnNodes) continue;
  for (const routing of ["table", "fingers"] as const) {
    progress(`${nodes} nodes: lookups by ${routing} under churn`);
    const churned = routing === "table" ? ring : new ScaleRing({ nodes, seed, routing });
    if (routing === "fingers") await churned.start();
    const churn = await measureChurn(churned, {
      sessionMs: churnSessionMs,
      durationMs: 60_000,
      perSecond: 50,
    });
    rows.churn.push(churnRow(nodes, routing, churn));
  }
}
const { r } = new ScaleRing({ nodes: 51, seed });
console.log(
  `Rings of real route modules in one process, seed ${seed}, successor lists of r = ${r}.`,
);
console.log(
  "Every module has the full member table; bytes are frames of the peer link that a node",
);
console.log("sends (it receives as many), TLS and IP not counted.");
table(
  `Lookups by fingers (${lookups} of random points from random nodes): hops, and 1/2 log2 N - 1/2 log2 r + 1`,
  rows.hops,
);
table("While nothing happens: bytes a node and second", rows.quiet);
table("News of one join and of one crash, until every node knows", rows.spread);
table("At sessions of 30 days: rate of events times what one costs", rows.session);
if (rows.churn.length > 0)
  table("Lookups by 50 a second while sessions last 10 minutes, for 60 s", rows.churn);
