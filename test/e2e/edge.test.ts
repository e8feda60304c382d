// The gateway on the edge runtime: real workerd, started by `npm run edge`, against the nodes of a real cluster. It must
// answer as the gateway on Node does.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type DevFile, DevCluster, root, until } from "./dev-cluster.ts";
import { patterned, smoke } from "./smoke.ts";
import { sdkClient } from "./sdk.ts";
import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";

let cluster: DevCluster;
let edge: ChildProcess;
let atEdge: DevFile;
let output = "";

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

beforeAll(async () => {
  cluster = await DevCluster.start();
  const port = await freePort();
  const args = ["--data", cluster.folder, "--port", String(port)];
  edge = spawn(process.execPath, [join(root, "node/cli/edge.ts"), ...args]);
  for (const stream of [edge.stdout!, edge.stderr!])
    stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  await until("workerd to answer", () => {
    if (edge.exitCode !== null) throw new Error(`The edge ended:\n${output}`);
    return output.includes("Ready on") ? true : undefined;
  });
  atEdge = { ...cluster.dev, endpoint: `http://127.0.0.1:${port}` };
}, 120_000);

afterAll(async () => {
  const ended = once(edge, "exit");
  edge.kill("SIGTERM");
  await ended;
  await cluster.remove();
}, 60_000);

test("prints the size of its bundle", () => {
  expect(output).toMatch(/Bundle: Total Upload: [\d.]+ KiB \/ gzip: [\d.]+ KiB/u);
});

test("answers like the gateway on Node", async () => {
  const onNode = await smoke(cluster.dev, "node/");
  const onEdge = await smoke(atEdge, "edge/");
  expect(onEdge).toEqual(onNode);
  // Both might be wrong alike.
  expect(onNode).toContainEqual({ name: "compressed", answer: ["gzip", true, true] });
  expect(onNode).toContainEqual({
    name: "metadata in UTF-8, a signed Accept-Encoding",
    answer: [200, "", 200, true],
  });
}, 180_000);

test("a download that its client leaves, and one afterwards", async () => {
  const client = sdkClient(atEdge);
  const bytes = patterned(32 * 1024 * 1024);
  const at = { Bucket: atEdge.bucket, Key: "left" };
  await client.send(new PutObjectCommand({ ...at, Body: bytes }));
  for (let i = 0; i < 5; i++) {
    const left = new AbortController();
    const got = await client.send(new GetObjectCommand(at), { abortSignal: left.signal });
    const reader = got.Body!.transformToWebStream().getReader();
    await reader.read();
    left.abort();
    await reader.cancel().catch(() => undefined);
  }
  const whole = await client.send(new GetObjectCommand(at));
  expect(Buffer.compare(Buffer.from(await whole.Body!.transformToByteArray()), bytes)).toBe(0);
}, 60_000);

test("a node that dies is passed over", async () => {
  const client = sdkClient(atEdge);
  const at = { Bucket: atEdge.bucket, Key: "survivor" };
  await client.send(new PutObjectCommand({ ...at, Body: "still here" }));
  await cluster.kill(2);
  for (let i = 0; i < 20; i++) {
    const got = await client.send(new GetObjectCommand(at));
    expect(await got.Body!.transformToString()).toBe("still here");
  }
}, 60_000);
