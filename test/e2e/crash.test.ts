// Everything dies at once under load, and comes back with all that was acknowledged; and single nodes die while a
// large body goes through them.
import { randomBytes } from "node:crypto";
import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DevCluster, until } from "./dev-cluster.ts";
import { Load } from "./load.ts";
import { differingSlices } from "./node-answers.ts";
import { sdkClient } from "./sdk.ts";

const MiB = 1024 * 1024;
const CLIENTS = 8;
let cluster: DevCluster;
let load: Load;
const pids = new Map<number, number>();

beforeAll(async () => {
  cluster = await DevCluster.start();
  load = new Load(cluster.dev, CLIENTS);
  await load.prepare();
});
afterAll(async () => {
  load?.destroy();
  await cluster?.remove();
});

test("all that was acknowledged is there after every process died at once, twice in a row", async () => {
  for (let round = 0; round < 2; round++) {
    load.run({ untilFailure: true });
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    expect(load.failures).toEqual([]);
    const before = load.report();
    await cluster.crash();
    await load.quiet();
    const open = load.failures.splice(0).length;
    const restartMs = performance.now();
    await cluster.run();
    const readyMs = Math.round(performance.now() - restartMs);
    const { objects, wrong } = await load.verify(cluster.dev);
    console.log(
      `crash: ${JSON.stringify(before)}, ${open} calls cut off; ready again after ${readyMs} ms; ` +
        `${objects} objects right, ${wrong.length} wrong`,
    );
    expect(wrong).toEqual([]);
    expect(before.writes).toBeGreaterThan(0);
  }
});

/** Blocks that nodes have open in this part of their folder -> those nodes. The pattern's first group is the block. */
function openBlocks(path: RegExp): Map<string, number[]> {
  const nodesOf = new Map<string, Set<number>>();
  for (const [i, { pid, dataDir }] of cluster.dev.nodes.entries()) {
    const fds = `/proc/${pids.get(i) ?? pid}/fd`;
    for (const fd of readdirSync(fds)) {
      let open: string;
      try {
        open = readlinkSync(join(fds, fd));
      } catch {
        continue; // closed meanwhile
      }
      const block = open.startsWith(join(dataDir, "blocks")) && path.exec(open)?.[1];
      if (block) nodesOf.set(block, (nodesOf.get(block) ?? new Set()).add(i));
    }
  }
  return new Map([...nodesOf].map(([block, nodes]) => [block, [...nodes]]));
}

async function killAndRestart(i: number): Promise<void> {
  await cluster.kill(i, pids.get(i));
  pids.set(i, await cluster.restart(i));
}

async function allEqual(): Promise<void> {
  await until("the replicas to be equal", async () => {
    const state = await differingSlices(cluster);
    return state.differing.length === 0 ? true : undefined;
  });
}

test.each([0, 1, 2])("a put of 64 MiB outlives the death of its receiver %i", async (which) => {
  const s3 = sdkClient(cluster.dev);
  const body = randomBytes(64 * MiB);
  const Key = `upload-${which}`;
  const startMs = performance.now();
  const put = s3.send(new PutObjectCommand({ Bucket: "demo", Key, Body: body }));
  // A node that was down a moment ago may be fetching other blocks.
  const receivers = await until("the block to be on its way to three nodes", () =>
    [...openBlocks(/\/tmp\/([0-9a-f]{32})\./u).values()].find((nodes) => nodes.length === 3),
  );
  await killAndRestart(receivers[which]!);
  const { $metadata } = await put;
  console.log(
    `crash: killed node ${receivers[which]} of receivers ${receivers.join(", ")}: put done after ` +
      `${Math.round(performance.now() - startMs)} ms, attempts ${$metadata.attempts}`,
  );
  const { Body } = await sdkClient(cluster.dev).send(new GetObjectCommand({ Bucket: "demo", Key }));
  expect(Buffer.from(await Body!.transformToByteArray()).equals(body)).toBe(true);
  s3.destroy();
  await allEqual();
});

test("a get of 64 MiB outlives the deaths of the nodes that send it", async () => {
  const s3 = sdkClient(cluster.dev);
  const body = randomBytes(64 * MiB);
  await s3.send(new PutObjectCommand({ Bucket: "demo", Key: "download", Body: body }));
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: "demo", Key: "download" }));
  const chunks: Buffer[] = [];
  const killed: number[] = [];
  let bytes = 0;
  for await (const chunk of Body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > (killed.length + 1) * 16 * MiB && killed.length < 2) {
      const sender = await until(
        "a node to read the block",
        () => [...openBlocks(/\/[0-9a-f]{2}\/([0-9a-f]{32})$/u).values()][0]?.[0],
      );
      killed.push(sender);
      await killAndRestart(sender);
    }
  }
  expect(killed).toHaveLength(2);
  expect(Buffer.concat(chunks).equals(body)).toBe(true);
  console.log(`crash: 64 MiB read while nodes ${killed.join(" and ")} were killed`);
  s3.destroy();
});
