// `npm run chaos -- --kills 50`, `--races 1000`, `--partition held`, `--idle 60`: one measurement each, on a cluster
// of its own.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ChaosCluster } from "./chaos-cluster.ts";
import { measureIdle } from "./idle.ts";
import { killLeaders } from "./kills.ts";
import { partition } from "./partition.ts";
import { countTogether, raceCreations, whileLeadersDie } from "./races.ts";
import { type Condition } from "./relay.ts";
import { resize } from "./resize.ts";
import { quantile } from "./timings.ts";

/** Runs work on a fresh cluster of two gateways; its folder goes unless the work fails. */
export async function onCluster<T>(
  nodes: number,
  work: (cluster: ChaosCluster) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "ringstow-chaos-"));
  const cluster = await ChaosCluster.start({ folder, nodes, gateways: 2, fraction: Math.random });
  let done: T;
  try {
    done = await work(cluster);
  } catch (error) {
    throw new Error(`${String(error)} (data and logs are in ${folder})`, { cause: error });
  } finally {
    await cluster.stop();
  }
  rmSync(folder, { recursive: true, force: true });
  return done;
}

export const spread = (values: readonly number[]): string => {
  const at = (share: number): number => Math.round(quantile(values, share));
  return `p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}, most ${at(1)} ms of ${values.length}`;
};

/** Each resolves with what is wrong. */
export const measurements = {
  async kills(kills: number): Promise<string[]> {
    const say = console.log;
    const found = await onCluster(5, (cluster) =>
      killLeaders(cluster, { kills, writers: 16, say }),
    );
    say(`kills     ${kills}, ${found.writes} writes, ${found.failures.length} failed`);
    say(`gap       around kills: ${spread(found.gapsMs)}`);
    say(`gap       around restarts: ${spread(found.backMs)}`);
    const p99 = quantile(found.gapsMs, 0.99);
    return [...found.failures, ...(p99 < 1_000 ? [] : [`the gap's p99 is ${Math.round(p99)} ms`])];
  },

  async races(races: number): Promise<string[]> {
    return onCluster(5, async (cluster) => {
      const wrong: string[] = [];
      const tell = (what: string, found: Awaited<ReturnType<typeof raceCreations>>): void => {
        console.log(`races     ${what}: ${JSON.stringify(Object.fromEntries(found.ends))}`);
        wrong.push(...found.wrong);
      };
      const clients = { clients: 8, increments: Math.ceil(races / 20) };
      const quiet = await raceCreations(cluster, races);
      tell("undisturbed", quiet);
      const count = await countTogether(cluster, "counter-1", clients);
      console.log(`counter   undisturbed: ${JSON.stringify(count)}`);
      const counted = await whileLeadersDie(cluster, countTogether(cluster, "counter-2", clients));
      console.log(`counter   ${counted.kills} leaders killed: ${JSON.stringify(counted.done)}`);
      return [...wrong, ...count.wrong, ...counted.done.wrong];
    });
  },

  async partition(passage: Condition["passage"]): Promise<string[]> {
    const found = await onCluster(6, (cluster) =>
      partition(cluster, { passage, names: 16, lastMs: 30_000 }),
    );
    console.log(`partition ${passage}: ${found.served} calls served`);
    console.log(`refused   in the first 10 s: ${spread(found.refusedEarlyMs)}`);
    console.log(`refused   later: ${spread(found.refusedLateMs)}`);
    console.log(`healed    serves after ${found.servesMs} ms, one ring after ${found.ringMs} ms`);
    const slow = [...found.refusedEarlyMs, ...found.refusedLateMs].filter((ms) => ms > 2_000);
    return [
      ...found.wrong,
      ...(slow.length > 0 ? [`${slow.length} refusals took more than 2 s`] : []),
      ...(found.ringMs > 30_000 ? ["the ring was not one after 30 s"] : []),
    ];
  },

  async resize(rounds: number): Promise<string[]> {
    const found = await resize({ rounds, clients: 4, pauseMs: 50, say: console.log });
    for (const { count, medianMs, p99Ms, longestMs } of found.pauses)
      console.log(`pauses    ${count}: median ${medianMs}, p99 ${p99Ms}, longest ${longestMs} ms`);
    // How long they are is a matter of the machine; that slices stand still for milliseconds is held in virtual time.
    return [...found.failures, ...found.wrong];
  },

  async idle(seconds: number): Promise<string[]> {
    const found = await onCluster(5, (cluster) => measureIdle(cluster, seconds));
    console.log(
      `idle      ${found.peerBytesPerSecond.toFixed(0)} bytes/s a node between nodes, ` +
        `${found.httpBytesPerSecond.toFixed(0)} bytes/s to nodes over HTTP, in ${found.seconds.toFixed(0)} s`,
    );
    return [];
  },
};
