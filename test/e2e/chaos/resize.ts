// A node comes and a node goes while clients work, again and again: does any call fail, and for how long do slices stand
// still between two views?
import { setTimeout } from "node:timers/promises";
import { type PauseSummary } from "../../../node/index/view-pauses.ts";
import { DevCluster, type DevNode, until } from "../dev-cluster.ts";
import { Load, type LoadReport } from "../load.ts";
import { statuses } from "../node-answers.ts";
import { processorTime } from "../processor-time.ts";

export interface ResizeOptions {
  readonly rounds: number;
  readonly clients: number;
  /** Between two calls of a client, ms. */
  readonly pauseMs: number;
  readonly say: (line: string) => void;
}

export interface Resize {
  /** As each node measured its slices' pauses, after each round. */
  readonly pauses: readonly PauseSummary[];
  readonly failures: readonly string[];
  /** What is not as it was written. */
  readonly wrong: readonly string[];
}

const NODES = 5;
const SLICES = 4_096;
const warmUpMs = 15_000; // before anything is measured: new processes run code that is not compiled yet
const baselineMs = 30_000; // without a change: what the machine takes for a call by itself
const askEveryMs = 15_000; // whether views are settled: each node counts its chains for the answer
const FLAGS = ["--join-after", "2", "--repair-after", "3"];

export async function resize({ rounds, clients, pauseMs, say }: ResizeOptions): Promise<Resize> {
  const cluster = await DevCluster.start(NODES, FLAGS);
  const load = new Load(cluster.dev, clients, { pauseMs, inline: true });
  const pauses: PauseSummary[] = [];
  try {
    await load.prepare();
    load.run();
    await setTimeout(warmUpMs);
    load.report();
    let endPhase = beginPhase(cluster.dev.nodes);
    await setTimeout(baselineMs);
    say(`resize    no change for ${endPhase()}, ${summary(load.report())}`);
    for (let round = 1; round <= rounds; round++) {
      endPhase = beginPhase(cluster.dev.nodes);
      const added = await cluster.join();
      await settled(cluster, [...cluster.dev.nodes, added]);
      say(`resize ${round}: six nodes after ${endPhase()}, ${summary(load.report())}`);
      const nodes = [...cluster.dev.nodes, added];
      for (const { views } of await statuses({ folder: cluster.folder, dev: { nodes } }))
        pauses.push(views.pauses);
      endPhase = beginPhase(cluster.dev.nodes);
      await cluster.leave(added);
      await settled(cluster, cluster.dev.nodes);
      say(`resize ${round}: five after ${endPhase()}, ${summary(load.report())}`);
    }
    for (const { views } of await statuses(cluster)) pauses.push(views.pauses);
    await load.quiet();
    const { wrong } = await load.verify(cluster.dev);
    return { pauses, failures: load.failures.map(({ what }) => what), wrong };
  } finally {
    await load.quiet();
    load.destroy();
    await cluster.remove();
  }
}

/** Until every slice is held by three of these nodes, nobody changes a view any more, and no node counts but these. */
async function settled({ folder }: DevCluster, nodes: readonly DevNode[]): Promise<void> {
  await until(
    `views of ${nodes.length} nodes`,
    async () => {
      const told = await statuses({ folder, dev: { nodes } });
      const held = told.reduce((sum, { slicesHeld }) => sum + slicesHeld, 0);
      return held === 3 * SLICES &&
        told.every(({ slicesHeld, views }) => slicesHeld > 0 && views.changing === 0)
        ? true
        : undefined;
    },
    600_000,
    askEveryMs,
  );
}

/** Begins to look at what processors give these nodes. Gives what ends that, and tells it. */
function beginPhase(nodes: readonly DevNode[]): () => string {
  const pids = nodes.map(({ pid }) => pid);
  const [begunMs, before] = [performance.now(), processorTime(pids)];
  return () => {
    const tookMs = performance.now() - begunMs;
    const after = processorTime(pids);
    const took = `${(tookMs / 1_000).toFixed(1)} s`;
    if (!before || !after) return took;
    const share = (ms: number): string => `${((100 * ms) / tookMs / pids.length).toFixed(0)} %`;
    const [ran, waited] = [after.ranMs - before.ranMs, after.waitedMs - before.waitedMs];
    return `${took} (a node ran for ${share(ran)} and waited for a processor for ${share(waited)} of it)`;
  };
}

function summary({ calls, longestCallMs, smallPuts }: LoadReport): string {
  const count = Object.values(calls).reduce((sum, one) => sum + one, 0);
  const { medianMs, p99Ms } = smallPuts;
  return `${count} calls, the longest ${longestCallMs} ms; puts of 1 KiB: median ${medianMs}, p99 ${p99Ms} ms`;
}
