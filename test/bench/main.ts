// `npm run bench [-- SECONDS]`: where the time goes, as a Markdown table, everything measured in one run of about three
// minutes with plain node:http beside it. Times depend on the machine; ratios and CPU per operation depend on it less.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { DevCluster, type DevFile, isAlive, ringstow, until } from "../e2e/dev-cluster.ts";
import { measureCalls } from "./peer-link.ts";
import { measureRegisters } from "./registers.ts";
import { type Rate, S3Load, measureLoad } from "./s3-load.ts";

const seconds = Number(process.argv[2] ?? 5);
const CLIENTS = 64;
const MB = 1_000_000;
const small = Buffer.alloc(4096, 7);
const big = Buffer.alloc(64 * 1024 * 1024, 7);
const rows: string[][] = [];

const whole = (value: number): string => Math.round(value).toLocaleString("en");
function row(what: string, rate: string, cpu: string, target: string): void {
  rows.push([what, rate, cpu, target]);
  console.error(`${what}: ${rate}, ${cpu}`);
}
const smallRow = (what: string, { perSecond, cpuUs }: Rate, target: string): void =>
  row(what, `${whole(perSecond)}/s`, `${whole(cpuUs)} us`, target);

interface Target {
  readonly load: S3Load;
  readonly pids: readonly number[];
  readonly paths: { get: string; put: (n: number) => string; bigGet: string; bigPut: string };
}

async function measureSmall({ load, pids, paths }: Target): Promise<{ get: Rate; put: Rate }> {
  const get = async (): Promise<void> => void (await load.call("GET", paths.get));
  const put = async (n: number): Promise<void> =>
    void (await load.call("PUT", paths.put(n % 2000), small));
  // Compiled code is what a server runs: six processes share the first requests, and a cold one spends on the compiler.
  await measureLoad(pids, CLIENTS, 2 * seconds, put);
  const puts = await measureLoad(pids, CLIENTS, seconds, put);
  await measureLoad(pids, CLIENTS, seconds, get);
  return { put: puts, get: await measureLoad(pids, CLIENTS, seconds, get) };
}

/** One client. */
async function measureBig({ load, pids, paths }: Target): Promise<{ get: Rate; put: Rate }> {
  const put = async (): Promise<void> => void (await load.call("PUT", paths.bigPut, big));
  const get = async (): Promise<void> => {
    if ((await load.call("GET", paths.bigGet)) !== big.length) throw new Error("Bytes are missing");
  };
  const rate = async (work: () => Promise<void>): Promise<Rate> => {
    await work();
    return measureLoad(pids, 1, seconds, work);
  };
  return { put: await rate(put), get: await rate(get) };
}

async function plain(folder: string): Promise<{ target: Target; child: ChildProcess }> {
  const child = fork(join(import.meta.dirname, "plain-server.ts"), [folder]);
  const [port] = (await once(child, "message")) as [number];
  const load = new S3Load(`http://127.0.0.1:${port}`, CLIENTS);
  const paths = { get: "/small", put: () => "/synced", bigGet: "/big", bigPut: "/unsynced" };
  return { target: { load, pids: [child.pid!], paths }, child };
}

function s3Target(dev: DevFile, endpoint: string, pids: readonly number[]): Target {
  const load = new S3Load(endpoint, CLIENTS, { ...dev, endpoint });
  const put = (n: number): string => `/demo/s/${n}`;
  const paths = { get: put(0), put, bigGet: "/demo/big", bigPut: "/demo/big" };
  return { load, pids, paths };
}

/** A cluster of five with the gateway apart, then with one inside its first node; the yardstick before and between. */
async function clusterRows(yardstick: Target): Promise<void> {
  const cluster = await DevCluster.start();
  try {
    const { dev } = cluster;
    const pids = dev.nodes.map(({ pid }) => pid);
    const apart = s3Target(dev, dev.endpoint, [...pids, dev.gatewayPid]);
    const rawSmall = await measureSmall(yardstick);
    smallRow("node:http alone: GET 4 KiB", rawSmall.get, "yardstick");
    smallRow("node:http alone: PUT 4 KiB, one file, fdatasync, MD5", rawSmall.put, "yardstick");
    await smallRows("separate gateway", apart, "<= 230 us", "<= 430 us");
    await bigRows("separate gateway", apart, yardstick, ">= 0.4 of nginx");
    process.kill(pids[0]!, "SIGTERM");
    await until("the first node to end", () => (isAlive(pids[0]!) ? undefined : true));
    const port = String(Number(new URL(dev.endpoint).port) + 500);
    const node = ringstow(["node", "--data", dev.nodes[0]!.dataDir, "--gateway", port]);
    try {
      await until("the gateway in the node", () => node.output().includes("S3 gateway at"));
      const endpoint = `http://127.0.0.1:${port}`;
      const inside = s3Target(dev, endpoint, [node.process.pid!, ...pids.slice(1)]);
      await smallRows("gateway in a node", inside, "<= 150 us", "<= 350 us");
      await bigRows("gateway in a node", inside, yardstick, ">= 0.6 of nginx");
    } finally {
      node.process.kill("SIGTERM");
      await node.exited;
    }
  } finally {
    await cluster.remove();
  }
}

async function smallRows(where: string, target: Target, get: string, put: string): Promise<void> {
  const measured = await measureSmall(target);
  smallRow(`GET 4 KiB, ${where}`, measured.get, get);
  smallRow(`PUT 4 KiB, three durable copies, ${where}`, measured.put, put);
}

async function bigRows(where: string, target: Target, raw: Target, get: string): Promise<void> {
  const ours = await measureBig(target);
  const theirs = await measureBig(raw);
  const perSecond = (rate: Rate): string => whole((rate.perSecond * big.length) / MB);
  const bigRow = (what: string, a: Rate, b: Rate, wanted: string): void => {
    const ratio = (a.perSecond / b.perSecond).toFixed(2);
    const rate = `${perSecond(a)} MB/s; ${ratio} of node:http's ${perSecond(b)}`;
    const cpu = `${whole(a.cpuUs / 1000)} ms; node:http's ${whole(b.cpuUs / 1000)}`;
    row(`${what}, ${where}`, rate, cpu, wanted);
  };
  bigRow("GET 64 MiB", ours.get, theirs.get, get);
  bigRow(
    "PUT 64 MiB, three durable copies",
    ours.put,
    theirs.put,
    ">= 0.35 of one file without fsync",
  );
}

async function main(): Promise<void> {
  const load = (): string =>
    loadavg()
      .map((value) => value.toFixed(1))
      .join(" ");
  const before = load();
  const calls = await measureCalls(seconds);
  const each = `${calls.callerUs.toFixed(1)} + ${calls.calleeUs.toFixed(1)} us`;
  row("peer call, 300 bytes, 64 in flight", `${whole(calls.perSecond)}/s`, each, "12 us a side");
  for (const copies of [1, 3])
    smallRow(
      `durable register write, ${copies === 1 ? "one node" : "3 replicas"}, 64 writers`,
      await measureRegisters(copies, seconds),
      "",
    );
  const folder = mkdtempSync(join(tmpdir(), "ringstow-plain-"));
  const { target, child } = await plain(folder);
  try {
    await clusterRows(target);
  } finally {
    await target.load.close();
    child.kill();
    rmSync(folder, { recursive: true, force: true });
  }
  const head = ["what", "rate", "CPU per operation, all processes", "target"];
  for (const cells of [head, head.map(() => "---"), ...rows])
    console.log(`| ${cells.join(" | ")} |`);
  console.log(
    `\nNode ${process.version}, ${availableParallelism()} cores; ` +
      `load average ${before} before, ${load()} after (the benchmark's own included).`,
  );
}

await main();
