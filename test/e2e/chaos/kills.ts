// The leader of most slices is killed under load, again and again: for how long does a client that writes all the time
// have no answer?
import { PutObjectCommand } from "@aws-sdk/client-s3";
import { statuses } from "../node-answers.ts";
import { until } from "../dev-cluster.ts";
import { type ChaosCluster } from "./chaos-cluster.ts";
import { recover } from "./recovery.ts";
import { clientOf, failureOf } from "./s3-client.ts";

export interface Kills {
  /** The longest time without an acknowledged write of any writer around each kill. */
  readonly gapsMs: readonly number[];
  /** The same around each restart. */
  readonly backMs: readonly number[];
  /** Slices that the killed nodes led. */
  readonly led: readonly number[];
  readonly writes: number;
  /** Writes that failed after all attempts of the SDK. */
  readonly failures: readonly string[];
}

export interface KillsOptions {
  readonly kills: number;
  /** Each writes names of its own, so that many slices are written all the time. */
  readonly writers: number;
  readonly say: (line: string) => void;
}

const WRITES_A_NAME = 50;
/** A kill is watched for so long, and a restart until the node is back in the ring. */
const watchMs = 3_000;

export async function killLeaders(cluster: ChaosCluster, options: KillsOptions): Promise<Kills> {
  const { kills, say } = options;
  const writers = Array.from({ length: options.writers }, (_, i) => new Writer(cluster, i));
  const gapsMs: number[] = [];
  const backMs: number[] = [];
  const led: number[] = [];
  try {
    for (const writer of writers) writer.run();
    await Promise.all(writers.map((writer) => writer.servedAfter(performance.now())));
    for (let n = 1; n <= kills; n++) {
      const victim = await busiest(cluster);
      const killedAt = performance.now();
      await cluster.kill(victim.name);
      await Promise.all(writers.map((writer) => writer.servedAfter(killedAt + watchMs)));
      const restartedAt = performance.now();
      const gapMs = Math.max(...writers.map((writer) => writer.gap(killedAt, restartedAt)));
      await cluster.run(victim.name);
      const { ringMs } = await recover(cluster);
      const backAt = performance.now();
      const back = Math.max(...writers.map((writer) => writer.gap(restartedAt, backAt)));
      gapsMs.push(Math.round(gapMs));
      backMs.push(Math.round(back));
      led.push(victim.led);
      say(
        `kill ${n}: ${victim.name} led ${victim.led} slices; gap ${Math.round(gapMs)} ms; ` +
          `back in the ring after ${ringMs} ms, gap ${Math.round(back)} ms`,
      );
    }
  } finally {
    await Promise.all(writers.map((writer) => writer.stop()));
  }
  const writes = writers.reduce((sum, writer) => sum + writer.writes, 0);
  return { gapsMs, backMs, led, writes, failures: writers.flatMap((writer) => writer.failures) };
}

/** The node that leads most slices. */
export async function busiest(cluster: ChaosCluster): Promise<{ name: string; led: number }> {
  const told = await statuses(cluster.kept);
  const kept = cluster.nodes.filter((name) => !cluster.isLost(name));
  return told
    .map(({ slicesLed }, i) => ({ name: kept[i]!, led: slicesLed }))
    .toSorted((a, b) => b.led - a.led)[0]!;
}

/** Writes one call after the other. */
class Writer {
  readonly failures: string[] = [];
  writes = 0;
  readonly #cluster: ChaosCluster;
  readonly #number: number;
  /** When acknowledged writes were begun and answered. */
  readonly #acks: { beganAt: number; at: number }[] = [];
  #stop = false;
  #running: Promise<void> | undefined;

  constructor(cluster: ChaosCluster, number: number) {
    this.#cluster = cluster;
    this.#number = number;
  }

  run(): void {
    this.#running = this.#work();
  }

  async stop(): Promise<void> {
    this.#stop = true;
    await this.#running;
  }

  /** Resolves when a write was acknowledged that began after `atMs`. */
  async servedAfter(atMs: number): Promise<void> {
    const what = `writer ${this.#number} to have a write acknowledged`;
    await until(what, () => (this.#acks.at(-1)?.beganAt ?? 0) > atMs || undefined, 60_000).catch(
      (error: unknown) => {
        const failed = this.failures.slice(-5).join("; ");
        throw new Error(`${String(error)}; failed calls: ${failed || "none"}`, { cause: error });
      },
    );
  }

  /** The longest time between two acknowledged writes that touches a span. */
  gap(fromMs: number, toMs: number): number {
    let longest = 0;
    for (let i = 1; i < this.#acks.length; i++) {
      const [before, after] = [this.#acks[i - 1]!.at, this.#acks[i]!.at];
      if (after > fromMs && before < toMs) longest = Math.max(longest, after - before);
    }
    return longest;
  }

  async #work(): Promise<void> {
    const { dev, endpoints } = this.#cluster;
    const endpoint = endpoints[this.#number % endpoints.length]!;
    const client = clientOf(dev, endpoint, { attempts: 3, attemptMs: 10_000 });
    while (!this.#stop) {
      // A name that is written all the time answers SlowDown: it remembers so many requests and no more.
      const Key = `kills/${this.#number}-${Math.floor(this.writes / WRITES_A_NAME)}`;
      const beganAt = performance.now();
      const put = new PutObjectCommand({ Bucket: dev.bucket, Key, Body: `${this.writes}` });
      await client.send(put).then(
        () => {
          this.writes++;
          this.#acks.push({ beganAt, at: performance.now() });
        },
        (error: unknown) => {
          const span = `${Math.round(beganAt)}..${Math.round(performance.now())} ms`;
          this.failures.push(`${Key} by ${endpoint} ${span}: ${JSON.stringify(failureOf(error))}`);
        },
      );
    }
    client.destroy();
  }
}
