// Cost of S3 calls against a running cluster: operations a second and CPU microseconds an operation over all server
// processes, which do not depend on what else the machine does. Usage: node test/bench/s3.ts DIR [SECONDS] [CLIENTS]
// where DIR is the data folder of a running `ringstow dev`.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type DevFile, residentBytes } from "../e2e/dev-cluster.ts";
import { S3Load, cpuMicros } from "./s3-load.ts";

const folder = process.argv[2];
if (folder === undefined) throw new Error("Usage: node test/bench/s3.ts DIR [SECONDS] [CLIENTS]");
const seconds = Number(process.argv[3] ?? 10);
const clients = Number(process.argv[4] ?? 64);
const dev = JSON.parse(readFileSync(join(folder, "dev.json"), "utf8")) as DevFile;
const load = new S3Load(dev.endpoint, clients, dev);
const call = async (method: "GET" | "PUT" | "HEAD", path: string, body?: Buffer): Promise<void> =>
  void (await load.call(method, path, body));

async function measure(
  name: string,
  work: (n: number) => Promise<void>,
  forMs = seconds * 1000,
): Promise<void> {
  const pids = [...dev.nodes.map(({ pid }) => pid), dev.gatewayPid];
  const before = pids.map(cpuMicros);
  const began = performance.now();
  let done = 0;
  let next = 0;
  const latencies: number[] = [];
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() - began < forMs) {
        const start = performance.now();
        await work(next++);
        latencies.push(performance.now() - start);
        done++;
      }
    }),
  );
  const took = (performance.now() - began) / 1000;
  const cpu = pids.map((pid, i) => cpuMicros(pid) - before[i]!);
  const total = cpu.reduce((a, b) => a + b, 0);
  latencies.sort((a, b) => a - b);
  const rss = Math.max(...pids.map((pid) => residentBytes(pid)));
  console.log(
    [
      name.padEnd(14),
      `${(done / took).toFixed(0).padStart(6)} op/s`,
      `${(total / done).toFixed(0).padStart(6)} us CPU/op`,
      `(gateway ${(cpu.at(-1)! / done).toFixed(0)})`,
      `p50 ${latencies[done >> 1]!.toFixed(1)} ms`,
      `p99 ${latencies[Math.floor(done * 0.99)]!.toFixed(1)} ms`,
      `largest RSS ${(rss / 2 ** 20).toFixed(0)} MiB`,
    ].join("  "),
  );
}

const small = Buffer.alloc(4096, 7);
const names = 2000;
const runId = Math.floor(performance.timeOrigin);
for (let first = 0; first < names; first += clients) {
  const some = Array.from({ length: Math.min(clients, names - first) }, (_, i) => first + i);
  await Promise.all(some.map((n) => call("PUT", `/demo/bench/${n}`, small)));
}
await measure("PUT 4 KiB", (n) => call("PUT", `/demo/bench/${n % names}`, small));
await measure("PUT 4 KiB new", (n) => call("PUT", `/demo/bench/new/${runId}-${n}`, small));
await measure("GET 4 KiB", (n) => call("GET", `/demo/bench/${n % names}`));
await measure("HEAD", (n) => call("HEAD", `/demo/bench/${n % names}`));
await load.close();
