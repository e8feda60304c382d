// Durable register writes on composed nodes with their real disks and peer links, all in this process: inline objects
// of 200 bytes straight through ObjectService, no HTTP and no S3.
import { mkdtempSync, rmSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { initCluster, nodeFolder } from "../../node/cli/init.ts";
import { runNode } from "../../node/cli/run-node.ts";
import { parseRequestId } from "../../shared/ids.ts";
import { type Rate, measureLoad } from "./s3-load.ts";

const newRequestId = () => parseRequestId(randomBytes(16).toString("hex"));

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => new Promise((done) => server.once("listening", done))));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/** Writes from 64 writers to `copies` nodes, each of which has every register. */
export async function measureRegisters(copies: number, seconds: number): Promise<Rate> {
  const data = mkdtempSync(join(tmpdir(), "ringstow-registers-"));
  const ports = await freePorts(2 * copies);
  const at = (port: number): string => `127.0.0.1:${port}`;
  const nodes = Array.from({ length: copies }, (_, i) => ({
    url: `http://${at(ports[2 * i]!)}`,
    peerAddress: at(ports[2 * i + 1]!),
    zone: "bench",
  }));
  await initCluster({ data, nodes, copies });
  const options = { routing: "table", logLevel: "error", region: "us-east-1" } as const;
  const running = await Promise.all(
    nodes.map((_, i) => runNode({ ...options, data: nodeFolder(data, i + 1), trustProxy: false })),
  );
  try {
    const objects = running[0]!.node.object;
    const owner = "bench";
    const bucket = await objects.createBucket({ name: "bench", owner, requestId: newRequestId() });
    const value = new Uint8Array(200).fill(7);
    const write = async (n: number): Promise<void> => {
      async function* body(): AsyncGenerator<Uint8Array> {
        yield value;
      }
      const plan = { length: value.length, encoding: "plain" } as const;
      const what = { bucket, key: `k/${n}`, headers: {}, metadata: {}, body: plan };
      await objects.put({ ...what, precondition: {}, requestId: newRequestId() }, body());
    };
    await measureLoad([process.pid], 64, 1, (n) => write(-n));
    return await measureLoad([process.pid], 64, seconds, write);
  } finally {
    await Promise.all(running.map((node) => node.stop()));
    rmSync(data, { recursive: true, force: true });
  }
}
