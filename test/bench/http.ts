// Cost of the hop between gateway and node, without S3 and without storage: `node test/bench/http.ts [seconds]`.
// Two processes: the node app over a double that answers from memory, and this one with an upstream caller.
// Prints operations per second and CPU microseconds per operation of each process (compare ratios, not times).
import { fork } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo } from "node:net";
import { Pool } from "undici";
import { type ByteStream } from "../../shared/object-service.ts";
import { type Entry } from "../../shared/records.ts";
import { createNodeUpstream } from "../../gateway/serve.ts";
import { createNodeApp } from "../../node/http.ts";
import { startHttpServer } from "../../node/runtime/http-server.ts";
import { type Route } from "../../node/route/types.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const gatewaySecret = new Uint8Array(32).fill(3);
const CLIENTS = 64;

interface Cpu {
  readonly cpuMicros: number;
  readonly rssBytes: number;
}

function cpu(): Cpu {
  const { user, system } = process.cpuUsage();
  return { cpuMicros: user + system, rssBytes: process.memoryUsage.rss() };
}

async function* zeros(length: number): ByteStream & AsyncGenerator<Uint8Array> {
  const chunk = Buffer.alloc(Math.min(length, 256 * KiB));
  for (let at = 0; at < length; at += chunk.length)
    yield chunk.length <= length - at ? chunk : chunk.subarray(0, length - at);
}

async function serveNode(): Promise<void> {
  const id = "1".repeat(32);
  const result = { etag: "0".repeat(32), version: 1, lastModifiedMs: 1 };
  const entry: Entry = { ...result, headers: {}, metadata: {}, size: 0, body: { kind: "inline" } };
  const object = {
    get: async ({ key }: { key: string }) => ({
      ...{ type: "object", entry, from: 0, to: Number(key), partial: false },
      body: zeros(Number(key)),
    }),
    put: async (_request: unknown, body: ByteStream) => {
      let bytes = 0;
      for await (const chunk of body) bytes += chunk.length;
      return { ...result, version: bytes };
    },
  };
  const members: unknown[] = [];
  const route = { self: { id }, live: () => members } as unknown as Route;
  const clock = { monotonicMs: () => 0, wallMs: Date.now, after: () => ({ cancel: () => {} }) };
  const status = () => Promise.reject(new Error("No status in a benchmark"));
  const digests = status;
  const hopSecret = gatewaySecret;
  const rest = { gatewaySecret, hopSecret, clock, sliceBits: 8 };
  const deps = { object: object as never, route, status, digests, ...rest };
  const server = await startHttpServer({ app: createNodeApp(deps), host: "127.0.0.1", port: 0 });
  members.push({ id, url: server.url, zone: "a", freeBytes: 0 });
  // The yardstick: the least that an exchange of 4 KiB costs with the same server and client libraries.
  const small = Buffer.alloc(4 * KiB);
  const raw = createServer((_request, response) => response.end(small)).listen(0, "127.0.0.1");
  await once(raw, "listening");
  const rawUrl = `http://127.0.0.1:${(raw.address() as AddressInfo).port}`;
  process.on("message", () => process.send!(cpu()));
  process.send!([server.url, rawUrl]);
}

async function bench(seconds: number): Promise<void> {
  const child = fork(import.meta.filename, ["--node"]);
  const ask = <T>(): Promise<T> =>
    new Promise((resolve) => child.once("message", (m) => resolve(m as T)));
  const [url, rawUrl] = await ask<[string, string]>();
  const nodeCpu = (): Promise<Cpu> => {
    const answer = ask<Cpu>();
    child.send("cpu");
    return answer;
  };
  const upstream = createNodeUpstream({ seeds: [url], gatewaySecret });
  await upstream.start();
  const service = upstream.service({ ip: "127.0.0.1", position: undefined });
  const bucket = { id: "b".repeat(32) as never, shards: 16 };
  const get = async (length: number): Promise<void> => {
    const got = await service.get({ bucket, key: String(length), conditions: {}, headOnly: false });
    let bytes = 0;
    if (got.type === "object") for await (const chunk of got.body) bytes += chunk.length;
    if (bytes !== length) throw new Error(`${bytes} bytes came, not ${length}`);
  };
  const put = async (length: number): Promise<void> => {
    const described = { headers: { contentType: "text/plain" }, metadata: {} };
    const body = { length, encoding: "plain" as const };
    const requestId = "c".repeat(32) as never;
    const request = { bucket, key: "k", ...described, body, precondition: {}, requestId };
    const { version } = await service.put(request, zeros(length));
    if (version !== length) throw new Error(`${version} bytes arrived, not ${length}`);
  };
  const run = async (
    name: string,
    operation: () => Promise<void>,
    bytes: number,
  ): Promise<void> => {
    const clients = bytes > MiB ? 1 : CLIENTS;
    const spin = async (untilMs: number): Promise<number> => {
      let count = 0;
      while (performance.now() < untilMs) {
        await operation();
        count++;
      }
      return count;
    };
    const all = (forMs: number) =>
      Promise.all(Array.from({ length: clients }, () => spin(performance.now() + forMs)));
    await all(Math.min(1000, seconds * 500));
    const [mine, nodes] = [cpu(), await nodeCpu()];
    const startMs = performance.now();
    const count = (await all(seconds * 1000)).reduce((a, b) => a + b);
    const passed = (performance.now() - startMs) / 1000;
    const [mineAfter, nodesAfter] = [cpu(), await nodeCpu()];
    const micros = (before: Cpu, after: Cpu) =>
      ((after.cpuMicros - before.cpuMicros) / count).toFixed(bytes > MiB ? 0 : 1);
    const rate =
      bytes > MiB
        ? `${((count * bytes) / MiB / passed).toFixed(0)} MiB/s`
        : `${(count / passed).toFixed(0)} ops/s`;
    console.log(
      `${name.padEnd(14)} ${rate.padStart(12)}  CPU us/op: gateway ${micros(mine, mineAfter)}, ` +
        `node ${micros(nodes, nodesAfter)}; peak RSS gateway ${(mineAfter.rssBytes / MiB).toFixed(0)} MiB, ` +
        `node ${(nodesAfter.rssBytes / MiB).toFixed(0)} MiB`,
    );
  };
  const pool = new Pool(rawUrl, { connections: CLIENTS });
  const rawGet = async (): Promise<void> => {
    const { body } = await pool.request({ path: "/", method: "GET" });
    await body.arrayBuffer();
  };
  await run("raw GET 4 KiB", rawGet, 4 * KiB);
  await run("GET 4 KiB", () => get(4 * KiB), 4 * KiB);
  await run("PUT 4 KiB", () => put(4 * KiB), 4 * KiB);
  await run("GET 256 MiB", () => get(256 * MiB), 256 * MiB);
  await run("PUT 256 MiB", () => put(256 * MiB), 256 * MiB);
  await pool.close();
  await upstream.stop();
  child.kill();
}

if (process.argv.includes("--node")) await serveNode();
else await bench(Number(process.argv[2] ?? 3));
