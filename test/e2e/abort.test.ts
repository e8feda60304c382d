// Clients that go away in the middle: nothing of them may stay, no descriptor, no memory, no temporary file.
import { randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import {
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DevCluster, descriptors, residentBytes, until } from "./dev-cluster.ts";
import { statuses } from "./node-answers.ts";
import { signedHeaders } from "./raw-request.ts";
import { sdkClient } from "./sdk.ts";

const MiB = 1024 * 1024;
const size = 64 * MiB;
const AT_A_TIME = 20;
let cluster: DevCluster;
let s3: S3Client;
let body: Buffer;

beforeAll(async () => {
  cluster = await DevCluster.start();
  s3 = sdkClient(cluster.dev);
  body = randomBytes(size);
  await s3.send(new PutObjectCommand({ Bucket: "demo", Key: "large", Body: body }));
});
afterAll(async () => {
  s3?.destroy();
  await cluster?.remove();
});

/** A download that ends after its first bytes. Resolves when the socket is closed. */
async function leaveDownload(): Promise<void> {
  const asked = { method: "GET", path: "/demo/large" };
  const { hostname, port } = new URL(cluster.dev.endpoint);
  const headers = await signedHeaders(cluster.dev, asked);
  await new Promise<void>((resolve, reject) => {
    const outgoing = request({ hostname, port, ...asked, headers, agent: false }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`Status ${response.statusCode}`));
      response.once("data", () => response.destroy());
      response.once("close", resolve);
      response.once("error", () => undefined); // "aborted": by us
    });
    outgoing.once("error", reject);
    outgoing.end();
  });
}

/** An upload of 64 MiB that ends in the middle. Resolves when the socket is closed. */
async function leaveUpload(number: number): Promise<void> {
  const asked = {
    method: "PUT",
    path: `/demo/left-${number}`,
    headers: { "x-amz-content-sha256": "UNSIGNED-PAYLOAD" },
  };
  const { hostname, port } = new URL(cluster.dev.endpoint);
  const signed = await signedHeaders(cluster.dev, asked);
  const headers = { ...signed, "content-length": String(size) };
  await new Promise<void>((resolve) => {
    const { method, path } = asked;
    const outgoing = request({ hostname, port, method, path, headers, agent: false });
    outgoing.once("error", () => undefined); // by us
    outgoing.once("close", resolve);
    // Some leave within the first bytes, some after several pieces went to the nodes' disks.
    outgoing.write(body.subarray(0, (number % 8) * MiB + 1000), () => outgoing.destroy());
  });
}

async function repeat(count: number, work: (number: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
}

interface Use {
  readonly descriptors: number[];
  readonly residentMiB: number[];
}

/** Of the gateway, then of every node. */
async function use(): Promise<Use> {
  const { gatewayPid, nodes } = cluster.dev;
  const pids = [gatewayPid, ...nodes.map(({ pid }) => pid)];
  return {
    descriptors: await Promise.all(pids.map(descriptors)),
    residentMiB: pids.map((pid) => Math.round(residentBytes(pid) / MiB)),
  };
}

/** Waits until every process has about as many descriptors as before: pools keep idle connections for 20 s. */
async function descriptorsReturn(before: Use): Promise<Use> {
  let now = await use();
  await until("the descriptors to return", async () => {
    now = await use();
    return now.descriptors.every((count, i) => count <= before.descriptors[i]! + 4)
      ? true
      : undefined;
  }).catch((error: unknown) => {
    throw new Error(`${JSON.stringify(before)} became ${JSON.stringify(now)}`, { cause: error });
  });
  return now;
}

test("1,000 clients gone in the middle of a download leave nothing behind", async () => {
  // The heap and the pools of connections reach their usual size first.
  await repeat(200, leaveDownload);
  const before = await use();
  const startMs = performance.now();
  await repeat(1000, leaveDownload);
  const ms = Math.round(performance.now() - startMs);
  const after = await descriptorsReturn(before);
  console.log(
    `abort: 1,000 downloads left in ${ms} ms (gateway, nodes)\n` +
      `  descriptors ${before.descriptors.join(" ")} -> ${after.descriptors.join(" ")}\n` +
      `  resident MiB ${before.residentMiB.join(" ")} -> ${after.residentMiB.join(" ")}`,
  );
  // Memory comes and goes with the garbage collector; 128 KiB kept of each download would be 125 MiB.
  for (const [i, mebibytes] of after.residentMiB.entries())
    expect(mebibytes).toBeLessThan(before.residentMiB[i]! + 100);
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: "demo", Key: "large" }));
  expect(Buffer.from(await Body!.transformToByteArray()).equals(body)).toBe(true);
});

test("100 clients gone in the middle of an upload leave nothing behind", async () => {
  const temporary = (): string[] =>
    cluster.dev.nodes.flatMap(({ dataDir }) => readdirSync(join(dataDir, "blocks/tmp")));
  const before = await use();
  let seen = 0;
  const startMs = performance.now();
  await repeat(100, async (number) => {
    await leaveUpload(number);
    seen = Math.max(seen, temporary().length);
  });
  const ms = Math.round(performance.now() - startMs);
  await until("the temporary files to be gone", () =>
    temporary().length === 0 ? true : undefined,
  );
  const goneMs = Math.round(performance.now() - startMs) - ms;
  const after = await descriptorsReturn(before);
  console.log(
    `abort: 100 uploads left in ${ms} ms, up to ${seen} temporary files, gone ${goneMs} ms later\n` +
      `  descriptors ${before.descriptors.join(" ")} -> ${after.descriptors.join(" ")}\n` +
      `  resident MiB ${before.residentMiB.join(" ")} -> ${after.residentMiB.join(" ")}`,
  );
  expect(seen).toBeGreaterThan(0);
  const blocks = (await statuses(cluster)).reduce((sum, status) => sum + status.blocks, 0);
  expect(blocks).toBe(3);
  for (const number of [0, 7, 99]) {
    const head = s3.send(new HeadObjectCommand({ Bucket: "demo", Key: `left-${number}` }));
    await expect(head).rejects.toMatchObject({ $metadata: { httpStatusCode: 404 } });
  }
});
