// `ringstow copies` on real processes: five nodes with three copies of everything go over to five under load, bear the
// loss of two nodes then, and go back to three. No client notices, and no copy is left over.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RingstowClient } from "../../shared/client.ts";
import { type LookupReply } from "../../shared/native-api.ts";
import { DevCluster, ringstow, until } from "./dev-cluster.ts";
import { Load } from "./load.ts";
import { differingSlices, statuses } from "./node-answers.ts";

const NODES = 5;
const SLICES = 4_096;
const OBJECTS = 60;
const SIZES = [100, 17_000, 100_000, 700_000];
const withBlocks = Array.from({ length: OBJECTS }, (_, i) => i).filter((i) => sizeOf(i) > 16_384);
let cluster: DevCluster;
let client: RingstowClient;
let load: Load;

beforeAll(async () => {
  cluster = await DevCluster.start(NODES, ["--move-pause", "0"]);
  const { endpoint, accessKeyId, secretAccessKey } = cluster.dev;
  client = new RingstowClient({ endpoint, accessKeyId, secretAccessKey });
  load = new Load(cluster.dev, 3);
  await load.prepare();
  for (let i = 0; i < OBJECTS; i++) await client.put(nameOf(i), bodyOf(i));
}, 60_000);
afterAll(async () => {
  load?.destroy();
  await cluster?.remove();
}, 60_000);

function sizeOf(i: number): number {
  return SIZES[i % SIZES.length]! + i;
}

function nameOf(i: number): { bucket: string; key: string } {
  return { bucket: cluster.dev.bucket, key: `object ${i}` };
}

function bodyOf(i: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sizeOf(i));
  for (let at = 0; at < bytes.length; at++) bytes[at] = (at * (i + 7) + (at >> 8)) & 0xff;
  return bytes;
}

const pointers = ({ chain }: LookupReply) => {
  const { body } = chain.entries[0]!;
  return body.kind === "blocks" ? body.blocks.flatMap(({ replicas }) => replicas) : [];
};

async function copies(...args: string[]): Promise<string> {
  const run = ringstow(["copies", ...args, "--data", cluster.folder]);
  expect(await run.exited, run.output()).toBe(0);
  return run.output();
}

/** Nodes that name each object with blocks, all with its newest bytes. */
async function replicasOf(): Promise<number[]> {
  const found = await Promise.all(withBlocks.map((i) => client.lookup(nameOf(i))));
  return found.map((one) => {
    const newest = Math.max(...pointers(one).map(({ version }) => version));
    const good = pointers(one).filter(({ version }) => version === newest);
    return new Set(good.map(({ node }) => node)).size;
  });
}

async function blockIds(): Promise<string[]> {
  const found = await Promise.all(withBlocks.map((i) => client.lookup(nameOf(i))));
  return found.flatMap(({ chain }) => {
    const { body } = chain.entries[0]!;
    return body.kind === "blocks" ? body.blocks.map(({ id }) => id) : [];
  });
}

/** Data folders with a file of this block. */
function holders(id: string): string[] {
  return cluster.dev.nodes
    .map(({ dataDir }) => dataDir)
    .filter((dataDir) => existsSync(join(dataDir, "blocks", id.slice(0, 2), id)));
}

async function readAll(): Promise<void> {
  for (let i = 0; i < OBJECTS; i++) {
    const bytes = new Uint8Array(await (await client.get(nameOf(i))).arrayBuffer());
    expect(Buffer.compare(bytes, bodyOf(i)), `object ${i}`).toBe(0);
  }
}

/**
 * Resolves with what `ringstow copies` says when nothing is left to do. A leader may have looked at a slice just before it
 * got a block, and looks again after a minute.
 */
async function nothingLeft(): Promise<string> {
  let text = "";
  return until(
    () => `nothing to be left to do; at last: ${text}`,
    async () => {
      text = await copies();
      return text.includes("Nothing is left to do") ? text : undefined;
    },
    120_000,
  );
}

/** Asks for so many copies, and waits until all of it is done. Gives how long views and blocks took, in ms. */
async function changeTo(count: 3 | 5): Promise<{ viewsMs: number; blocksMs: number }> {
  const startedMs = performance.now();
  expect(await copies(String(count))).toContain(`${count} copies of everything from now on`);
  await until(
    "the views",
    async () => {
      const held = (await statuses(cluster)).map(({ slicesHeld }) => slicesHeld);
      return held.reduce((a, b) => a + b) === count * SLICES ? true : undefined;
    },
    300_000,
    1_000,
  );
  const viewsMs = Math.round(performance.now() - startedMs);
  await until(
    "the blocks",
    async () => ((await replicasOf()).every((one) => one === count) ? true : undefined),
    120_000,
  );
  return { viewsMs, blocksMs: Math.round(performance.now() - startedMs) };
}

test("three copies become five under load, and two nodes may die then", async () => {
  expect(await copies()).toMatch(
    /^3 copies of everything are wanted; 5 of 5 nodes.*\nNothing is left/u,
  );
  load.run();
  const took = await changeTo(5);
  console.log(`copies: 3 to 5 ${JSON.stringify(took)}; load ${JSON.stringify(load.report())}`);
  await load.quiet();
  expect(load.failures).toEqual([]);
  expect(await nothingLeft()).toContain("5 copies of everything are wanted; 5 of 5 nodes");
  const { differing, slices } = await differingSlices(cluster, 5);
  expect([slices, differing]).toEqual([SLICES, []]);
  await cluster.kill(1);
  await cluster.kill(3);
  await readAll();
  await client.put(nameOf(0), bodyOf(0));
  await Promise.all([cluster.restart(1), cluster.restart(3)]);
}, 600_000);

test("five become three again, and no copy too many stays on any disk", async () => {
  load.run();
  const took = await changeTo(3);
  console.log(`copies: 5 to 3 ${JSON.stringify(took)}; load ${JSON.stringify(load.report())}`);
  await load.quiet();
  expect(load.failures).toEqual([]);
  const { wrong, objects } = await load.verify(cluster.dev);
  expect(wrong).toEqual([]);
  expect(objects).toBeGreaterThan(0);
  await readAll();
  const status = ringstow(["status", "--data", cluster.folder]);
  expect(await status.exited).toBe(0);
  expect(status.output()).toMatch(/^cluster [0-9a-f]{32}, 3 copies of everything\n/u);
  await nothingLeft();
  const blocks = await blockIds();
  await until("the files of dropped copies to be deleted", () =>
    blocks.every((id) => holders(id).length === 3) ? true : undefined,
  );
  // Dropped copies were taken from all.
  expect(new Set(blocks.flatMap(holders)).size).toBe(NODES);
}, 600_000);
