// `ringstow recover` on real processes: two of five nodes are lost for good, the second while the slices of the first
// are being given to others. Names that had two of their three voters there wait for an order, and lose nothing by it.
import { existsSync, rmSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RingstowClient } from "../../shared/client.ts";
import { RingstowError } from "../../shared/errors.ts";
import { DevCluster, ringstow, until } from "./dev-cluster.ts";
import { statuses } from "./node-answers.ts";

const SLICES = 4_096;
const SIZES = [100, 17_000, 300_000];
const names = Array.from({ length: 60 }, (_, i) => i);
let cluster: DevCluster;
let client: RingstowClient;

beforeAll(async () => {
  cluster = await DevCluster.start(5, ["--repair-after", "2"]);
  const { endpoint, accessKeyId, secretAccessKey } = cluster.dev;
  client = new RingstowClient({ endpoint, accessKeyId, secretAccessKey });
}, 60_000);
afterAll(() => cluster?.remove(), 60_000);

const nameOf = (i: number) => ({ bucket: cluster.dev.bucket, key: `object ${i}` });
const bodyOf = (i: number) => new Uint8Array(SIZES[i % SIZES.length]!).fill(i);

/** What a call gives; undefined while its slice cannot serve. */
async function unlessUnavailable<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof RingstowError && error.code === "Unavailable") return undefined;
    throw error;
  }
}

async function lose(i: number): Promise<string> {
  const { id, dataDir } = cluster.dev.nodes[i]!;
  await cluster.kill(i);
  rmSync(dataDir, { recursive: true });
  return id;
}

async function recover(lost: readonly string[], ...flags: string[]) {
  const named = lost.flatMap((id) => ["--lost", id]);
  const run = ringstow(["recover", "--data", cluster.folder, ...named, ...flags]);
  return { code: await run.exited, output: run.output() };
}

/** Voters of all slices on the nodes that are left. */
async function held(): Promise<number> {
  const nodes = cluster.dev.nodes.filter(({ dataDir }) => existsSync(dataDir));
  const left = await statuses({ folder: cluster.folder, dev: { nodes } });
  return left.reduce((sum, { slicesHeld }) => sum + slicesHeld, 0);
}

test("names that lost two of three voters come back by an operator's order, whatever was under way", async () => {
  for (const i of names) await client.put(nameOf(i), bodyOf(i));
  await until("three copies of everything", async () =>
    (await statuses(cluster)).every((node) => node.underReplicated + node.repairing === 0)
      ? true
      : undefined,
  );
  const first = await lose(1);
  const left = await held();
  await until("slices to be given to others", async () => (await held()) > left || undefined);
  const lost = [first, await lose(3)];

  const { code, output } = await recover(lost);
  expect(code).toBe(1);
  expect(output).toContain("--accept-data-loss");
  const alive = await recover([cluster.dev.nodes[0]!.id], "--accept-data-loss");
  expect(alive.code).toBe(1);
  expect(alive.output).toContain("it answers");

  const counts: number[] = [];
  await until(
    () => `nothing to be left to order; went on: ${counts.join()}`,
    async () => {
      const ordered = await recover(lost, "--accept-data-loss");
      expect(ordered.output).not.toContain("stay away");
      counts.push(Number(/^(\d+) slices go on/u.exec(ordered.output)?.[1]));
      return counts.at(-1) === 0 && (await held()) === 3 * SLICES ? true : undefined;
    },
    120_000,
    1_000,
  );
  console.log(`recover: slices that went on by each order: ${counts.join()}`);
  expect(counts[0]).toBeGreaterThan(SLICES / 10);
  for (const i of names) {
    const bytes = await until(`object ${i}`, () =>
      unlessUnavailable(
        async () => new Uint8Array(await (await client.get(nameOf(i))).arrayBuffer()),
      ),
    );
    expect(Buffer.compare(bytes, bodyOf(i)), `object ${i}`).toBe(0);
    await client.put(nameOf(i), bodyOf(i + 1));
  }
}, 300_000);
