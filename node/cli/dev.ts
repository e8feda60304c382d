// `ringstow dev`: a whole cluster on this machine, one process a node and one gateway, data under one folder. Keys,
// ids and the bucket `demo` are made at the first start and kept.
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { flushCompileCache } from "node:module";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { RingstowError } from "../../shared/errors.ts";
import { type Genesis } from "../../shared/genesis.ts";
import { type Child, startChild, stopOnSignals } from "./child.ts";
import { commandLine } from "./command.ts";
import { CliError } from "./cli-error.ts";
import { readDevKey, readGenesis, readNodeFile, readSecret, writeDevKey } from "./cluster-files.ts";
import { withCluster } from "./cluster-service.ts";
import { writeDurably } from "./durable-file.ts";
import { initCluster, nodeFolder } from "./init.ts";
import { type OpenedKey, createKey, newKeyPair } from "./keys.ts";
import { newRequestId } from "./new-request-id.ts";
import { REGION_DEFAULT } from "./run-gateway.ts";

export interface DevOptions {
  readonly data: string;
  /** Nodes of a new cluster; an existing one keeps its number. */
  readonly nodes: number | undefined;
  /** The gateway's port, else the one of the last start; a new cluster's nodes take the ports above it. */
  readonly port: number | undefined;
  /** Seconds for which a new node is alive before it gets its share, and for which a dead one keeps its. */
  readonly joinAfter?: number | undefined;
  readonly repairAfter?: number | undefined;
  /** Ms between two slices whose places move though nobody is in need. */
  readonly movePause?: number | undefined;
}

export const BUCKET = "demo";
const HOST = "127.0.0.1";
const NODES_DEFAULT = 5;
const PORT_DEFAULT = 9000;
const stopGraceMs = 10_000;

interface DevNode {
  readonly id: string;
  readonly url: string;
  readonly pid: number;
  readonly dataDir: string;
}

export async function runDev(options: DevOptions): Promise<void> {
  const data = resolve(options.data);
  const port = options.port ?? (await lastPort(data)) ?? PORT_DEFAULT;
  const genesis = await openCluster(data, options.nodes, port);
  const key = await devKey(data);
  await readSecret(data);
  const folders = await foldersOf(data, genesis);
  const children: Child[] = [];
  let stopping = false;
  const stopAll = async (): Promise<void> => {
    stopping = true;
    // The gateway first, so that its requests find their nodes while they end.
    for (const group of [children.slice(-1), children.slice(0, -1)]) {
      for (const child of group) child.process.kill("SIGTERM");
      await Promise.all(group.map(ended));
    }
  };
  stopOnSignals(stopAll);
  const start = (name: string, args: string[], hint: string): Child => {
    const child = startChild(name, args);
    children.push(child);
    const report = async (): Promise<void> => {
      await child.ready;
      const { code, signal } = await child.exited;
      if (stopping) return;
      process.stderr.write(
        `${name} ended (${signal ?? `exit ${code}`}). Start it again with: ${hint}\n`,
      );
    };
    // One that was never ready is reported by whoever waits for it.
    report().catch(() => undefined);
    return child;
  };
  // What this process has compiled, its children need not compile again.
  flushCompileCache();
  try {
    for (const { id, folder } of folders) {
      const args = ["node", "--data", folder];
      const { joinAfter, repairAfter, movePause } = options;
      if (joinAfter !== undefined) args.push("--join-after", String(joinAfter));
      if (repairAfter !== undefined) args.push("--repair-after", String(repairAfter));
      if (movePause !== undefined) args.push("--move-pause", String(movePause));
      start(`node ${id.slice(0, 8)}`, args, commandLine(args.join(" ")));
    }
    await Promise.all(children.map(({ ready }) => ready));
    const nodes = folders.map(({ id, url, folder }, i): DevNode => {
      return { id, url, pid: children[i]!.process.pid!, dataDir: folder };
    });
    const args = ["gateway", "--data", data, "--host", HOST, "--port", String(port)];
    const gateway = start("gateway", args, commandLine(args.join(" ")));
    await gateway.ready;
    for (const child of children) child.showOutput();
    await makeKeyAndBucket(data, key);
    const endpoint = `http://${HOST}:${port}`;
    await announce(data, endpoint, key, nodes, gateway.process.pid!);
  } catch (error) {
    await stopAll();
    throw error;
  }
}

/** Gives a child time to end by itself, then ends it: its data is safe at any moment. */
async function ended(child: Child): Promise<void> {
  const timer = setTimeout(() => child.process.kill("SIGKILL"), stopGraceMs);
  await child.exited;
  clearTimeout(timer);
}

/** The gateway's port at the last start, if there was one. */
async function lastPort(data: string): Promise<number | undefined> {
  const path = join(data, "dev.json");
  if (!existsSync(path)) return undefined;
  const text = await readFile(path, "utf8");
  const port = Number(/"endpoint": "http:\/\/[^"]+:(\d+)"/u.exec(text)?.[1]);
  return port > 0 ? port : undefined;
}

async function openCluster(
  data: string,
  wanted: number | undefined,
  port: number,
): Promise<Genesis> {
  if (existsSync(join(data, "genesis.json"))) {
    const genesis = await readGenesis(data);
    if (wanted !== undefined && wanted !== genesis.nodes.length) {
      throw new CliError(
        `Cannot start ${wanted} nodes: the cluster in ${data} has ${genesis.nodes.length}. ` +
          "Leave --nodes out, or choose another folder with --data.",
      );
    }
    return genesis;
  }
  const count = wanted ?? NODES_DEFAULT;
  const nodes = Array.from({ length: count }, (_, i) => ({
    url: `http://${HOST}:${port + 1 + i}`,
    peerAddress: `${HOST}:${port + 1 + count + i}`,
    zone: "local",
  }));
  // Before anything is made: the nodes keep these ports for ever.
  await requireFreePorts(port, 1 + 2 * count);
  return initCluster({ data, nodes });
}

async function requireFreePorts(first: number, count: number): Promise<void> {
  for (let port = first; port < first + count; port++) {
    const server = createServer();
    server.listen(port, HOST);
    try {
      await once(server, "listening"); // rejects at "error"
    } catch {
      throw new CliError(
        `Cannot make a cluster: port ${port} is taken by another process. Stop it, or choose with --port where ` +
          `${count} free ports in a row begin (now ${first} to ${first + count - 1}).`,
      );
    }
    server.close();
    await once(server, "close");
  }
}

/** The nodes in the order of their folders. */
async function foldersOf(
  data: string,
  genesis: Genesis,
): Promise<{ id: string; url: string; folder: string }[]> {
  return Promise.all(
    genesis.nodes.map(async (_, i) => {
      const folder = nodeFolder(data, i + 1);
      const { id } = await readNodeFile(folder);
      const node = genesis.nodes.find((one) => one.id === id);
      if (!node)
        throw new CliError(
          `Cannot start ${folder}: its node is not in the genesis file of ${data}`,
        );
      return { id, url: node.url, folder };
    }),
  );
}

/** On disk before the cluster knows it: a start that is cut off never leaves a key whose secret is lost. */
async function devKey(data: string): Promise<OpenedKey> {
  const known = await readDevKey(data);
  if (known) return known;
  const made = newKeyPair();
  await writeDevKey(data, made);
  return made;
}

async function makeKeyAndBucket(data: string, key: OpenedKey): Promise<void> {
  await withCluster(data, async (cluster) => {
    const grants = { all: "owner" as const, buckets: {}, createBuckets: true };
    await unlessThere("AccessKeyExists", () => createKey(cluster, key, { name: "dev", grants }));
    const bucket = { name: BUCKET, owner: key.accessKeyId, requestId: newRequestId() };
    await unlessThere("BucketAlready", () => cluster.service.createBucket(bucket));
  });
}

async function unlessThere(code: string, make: () => Promise<unknown>): Promise<void> {
  try {
    await make();
  } catch (error) {
    if (!(error instanceof RingstowError && error.code.startsWith(code))) throw error;
  }
}

async function announce(
  data: string,
  endpoint: string,
  key: OpenedKey,
  nodes: readonly DevNode[],
  gatewayPid: number,
): Promise<void> {
  const { accessKeyId, secretAccessKey } = key;
  const region = REGION_DEFAULT;
  const dev = { endpoint, region, accessKeyId, secretAccessKey, bucket: BUCKET, nodes, gatewayPid };
  await writeDurably(join(data, "dev.json"), `${JSON.stringify(dev, undefined, 2)}\n`, 0o600);
  process.stdout.write(`
Ringstow is ready: ${nodes.length} nodes, data in ${data}

  endpoint     ${endpoint}
  region       ${region}
  access key   ${accessKeyId}
  secret key   ${secretAccessKey}
  bucket       ${BUCKET}

AWS CLI:
  export AWS_ACCESS_KEY_ID=${accessKeyId} AWS_SECRET_ACCESS_KEY=${secretAccessKey} AWS_DEFAULT_REGION=${region}
  aws --endpoint-url ${endpoint} s3 cp README.md s3://${BUCKET}/
  aws --endpoint-url ${endpoint} s3 ls s3://${BUCKET}/

rclone:
  export RCLONE_CONFIG_RINGSTOW_TYPE=s3 RCLONE_CONFIG_RINGSTOW_PROVIDER=Other RCLONE_CONFIG_RINGSTOW_ENDPOINT=${endpoint}
  export RCLONE_CONFIG_RINGSTOW_ACCESS_KEY_ID=${accessKeyId} RCLONE_CONFIG_RINGSTOW_SECRET_ACCESS_KEY=${secretAccessKey}
  rclone ls ringstow:${BUCKET}

curl:
  curl --aws-sigv4 aws:amz:${region}:s3 --user ${accessKeyId}:${secretAccessKey} -H x-amz-content-sha256:UNSIGNED-PAYLOAD -T README.md ${endpoint}/${BUCKET}/readme
  curl --aws-sigv4 aws:amz:${region}:s3 --user ${accessKeyId}:${secretAccessKey} ${endpoint}/${BUCKET}/readme

Nodes:
${nodes.map(({ id, url, pid }) => `  ${id.slice(0, 8)}  ${url}  pid ${pid}`).join("\n")}

Stop with Ctrl-C; all data stays. See the cluster with: ${commandLine(`status --data ${data}`)}
`);
}
