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

/** Nodes that have a file open in this part of their block folder. */
function nodesWithOpen(folder: RegExp): number[] {
  return cluster.dev.nodes.flatMap(({ pid, dataDir }, i) => {
    const fds = `/proc/${pids.get(i) ?? pid}/fd`;
    const open = readdirSync(fds).some((fd) => {
      try {
        const path = readlinkSync(join(fds, fd));
        return path.startsWith(join(dataDir, "blocks")) && folder.test(path);
      } catch {
        return false; // closed meanwhile
      }
    });
    return open ? [i] : [];
  });
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
  const receivers = await until("the block to be on its way to three nodes", () => {
    const found = nodesWithOpen(/\/tmp\//u);
    return found.length === 3 ? found : undefined;
  });
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
      const [sender] = await until("a node to read the block", () => {
        const found = nodesWithOpen(/\/[0-9a-f]{2}\/[0-9a-f]{32}$/u);
        return found.length > 0 ? found : undefined;
      });
      killed.push(sender!);
      await killAndRestart(sender!);
    }
  }
  expect(killed).toHaveLength(2);
  expect(Buffer.concat(chunks).equals(body)).toBe(true);
  console.log(`crash: 64 MiB read while nodes ${killed.join(" and ")} were killed`);
  s3.destroy();
});
