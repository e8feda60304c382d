// A cluster of real processes whose every connection passes a relay. Each node listens on 127.0.1.i, is advertised at
// 127.0.2.i, where its relays listen, and calls from 127.0.3.i; gateways call from 127.0.4.i. Clients reach gateways
// directly. Logs and data stand under one folder. All of 127.0.0.0/8 is this machine, on Linux.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { withCluster } from "../../../node/cli/cluster-service.ts";
import { initCluster, nodeFolder } from "../../../node/cli/init.ts";
import { createKey, newKeyPair } from "../../../node/cli/keys.ts";
import { newRequestId } from "../../../node/cli/new-request-id.ts";
import { readNodeFile } from "../../../node/cli/cluster-files.ts";
import { type DevFile, ringstowMain, until } from "../dev-cluster.ts";
import { Relays } from "./relay.ts";

const readyMs = 60_000;
const BUCKET = "chaos";

interface Process {
  readonly name: string;
  readonly args: readonly string[];
  child: ChildProcess | undefined;
  stopped: boolean;
  /** Its folder is gone for good. */
  lost: boolean;
}

export interface ChaosOptions {
  readonly folder: string;
  readonly nodes: number;
  readonly gateways: number;
  /** Chance of the relays' jitter, 0..1. */
  readonly fraction: () => number;
  /** Wall clocks can be set: every process runs under libfaketime. */
  readonly fakeTime?: string | undefined;
}

export class ChaosCluster {
  readonly folder: string;
  readonly relays: Relays;
  readonly nodes: readonly string[];
  readonly gateways: readonly string[];
  readonly endpoints: readonly string[];
  dev!: DevFile;
  readonly #options: ChaosOptions;
  readonly #ports: Ports;
  readonly #processes = new Map<string, Process>();

  private constructor(options: ChaosOptions, ports: Ports) {
    this.#options = options;
    this.#ports = ports;
    this.folder = options.folder;
    this.nodes = names("node", options.nodes);
    this.gateways = names("gateway", options.gateways);
    this.endpoints = this.gateways.map((_, i) => `http://127.0.0.1:${ports.gateways + i}`);
    const callers = new Map(this.nodes.map((name, i) => [calledFrom(3, i), name]));
    for (const [i, name] of this.gateways.entries()) callers.set(calledFrom(4, i), name);
    this.relays = new Relays((address) => callers.get(address) ?? "driver", options.fraction);
  }

  static async start(options: ChaosOptions): Promise<ChaosCluster> {
    const cluster = new ChaosCluster(options, await freePorts(options.nodes, options.gateways));
    // Whatever ends this process, its children do not outlive it.
    process.once("exit", cluster.#killAll);
    try {
      await cluster.#begin();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  async #begin(): Promise<void> {
    const { folder, nodes } = this;
    const { peer, http, gateways } = this.#ports;
    mkdirSync(join(folder, "log"), { recursive: true });
    const genesis = await initCluster({
      data: folder,
      nodes: nodes.map((_, i) => ({
        url: `http://127.0.2.${i + 1}:${http}`,
        peerAddress: `127.0.2.${i + 1}:${peer}`,
        zone: "local",
      })),
    });
    for (const [i, to] of nodes.entries()) {
      const place = { to, host: `127.0.2.${i + 1}`, behind: `127.0.1.${i + 1}` };
      await this.relays.listen({ ...place, kind: "peer", port: peer });
      await this.relays.listen({ ...place, kind: "http", port: http });
      const args = ["node", "--data", nodeFolder(folder, i + 1), "--host", place.behind];
      this.#add(to, [...args, "--from", calledFrom(3, i), "--log", "info"]);
    }
    for (const [i, name] of this.gateways.entries()) {
      const port = String(gateways + i);
      const args = ["gateway", "--data", folder, "--host", "127.0.0.1", "--port", port];
      this.#add(name, [...args, "--from", calledFrom(4, i)]);
    }
    await Promise.all(nodes.map((name) => this.run(name)));
    const key = newKeyPair();
    // Calls of this process pass the relays as those of one more gateway.
    await withCluster(folder, async (cluster) => {
      const grants = { all: "owner" as const, buckets: {}, createBuckets: true };
      await createKey(cluster, key, { name: "chaos", grants });
      await cluster.service.createBucket({
        name: BUCKET,
        owner: key.accessKeyId,
        requestId: newRequestId(),
      });
    });
    await Promise.all(this.gateways.map((name) => this.run(name)));
    const files = await Promise.all(nodes.map((_, i) => readNodeFile(nodeFolder(folder, i + 1))));
    this.dev = {
      endpoint: this.endpoints[0]!,
      region: "us-east-1",
      ...key,
      bucket: BUCKET,
      nodes: files.map(({ id }, i) => ({
        id,
        // Directly: what a test asks a node about itself must not be cut off with it.
        url: `http://127.0.1.${i + 1}:${http}`,
        pid: this.pid(nodes[i]!)!,
        dataDir: nodeFolder(folder, i + 1),
      })),
      gatewayPid: this.pid(this.gateways[0]!)!,
    };
    if (genesis.nodes.length !== nodes.length) throw new Error("Genesis has other nodes");
  }

  /** Names of nodes that run: neither killed, stopped nor lost. */
  running(): string[] {
    return this.nodes.filter((name) => {
      const { child, stopped } = this.#process(name);
      return child !== undefined && !stopped;
    });
  }

  isDown(name: string): boolean {
    return this.#process(name).child === undefined;
  }

  isLost(name: string): boolean {
    return this.#process(name).lost;
  }

  pid(name: string): number | undefined {
    return this.#process(name).child?.pid;
  }

  /** Nodes that are not lost, as node-answers.ts takes them. */
  get kept(): { folder: string; dev: { nodes: DevFile["nodes"] } } {
    const nodes = this.dev.nodes.filter((_, i) => !this.isLost(this.nodes[i]!));
    return { folder: this.folder, dev: { nodes } };
  }

  /** Starts a process that is down. Rejects with its log's end when it ends before it answers. */
  async run(name: string): Promise<void> {
    const process = this.#process(name);
    const log = join(this.folder, "log", `${name}.log`);
    const fd = openSync(log, "a");
    const from = readFileSync(log).length;
    const child = spawn(globalThis.process.execPath, [ringstowMain, ...process.args], {
      stdio: ["ignore", fd, fd],
      env: { ...globalThis.process.env, ...this.#clockEnvironment(name) },
    });
    closeSync(fd);
    process.child = child;
    child.once("exit", () => {
      if (process.child === child) process.child = undefined;
    });
    const said = (): string => readFileSync(log, "utf8").slice(from);
    await until(
      `${name} to answer`,
      () => {
        if (process.child !== child) throw new Error(`${name} ended:\n${said().slice(-2000)}`);
        return /(?:answers|gateway) at/u.test(said()) ? true : undefined;
      },
      readyMs,
    );
  }

  /** SIGKILL; resolves when the process is gone. */
  async kill(name: string): Promise<void> {
    const { child } = this.#process(name);
    if (!child) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
    this.#process(name).stopped = false;
  }

  /** SIGSTOP: the process stands still, its connections stay. */
  pause(name: string): void {
    this.#process(name).child?.kill("SIGSTOP");
    this.#process(name).stopped = true;
  }

  resume(name: string): void {
    this.#process(name).child?.kill("SIGCONT");
    this.#process(name).stopped = false;
  }

  /**
   * Kills a node and removes its data, but for who it is: as a disk that was replaced and a folder half restored.
   * Starts it then, and resolves with why it refuses. Throws when it does not refuse: it could vote against its word.
   */
  async wipe(name: string): Promise<string> {
    await this.kill(name);
    const i = this.nodes.indexOf(name);
    const folder = nodeFolder(this.folder, i + 1);
    for (const part of ["registers", "blocks"])
      rmSync(join(folder, part), { recursive: true, force: true });
    this.#process(name).lost = true;
    const refusal = await this.run(name).then(
      () => undefined,
      (error: unknown) => String(error),
    );
    if (refusal === undefined) throw new Error(`${name} came back with wiped registers`);
    const reason = /ringstow: (Cannot start[^\n]*)/u.exec(refusal)?.[1];
    if (reason === undefined) throw new Error(`${name} did not say why it refuses: ${refusal}`);
    return reason;
  }

  get setsClocks(): boolean {
    return this.#options.fakeTime !== undefined;
  }

  /** Moves the wall clock of a process, at once. */
  setClock(name: string, offsetSeconds: number): void {
    const sign = offsetSeconds < 0 ? "" : "+";
    writeFileSync(this.#clockFile(name), `${sign}${offsetSeconds}s\n`);
  }

  /** SIGTERM to all, SIGKILL to what does not end. */
  async stop(): Promise<void> {
    for (const { name, stopped } of this.#processes.values()) if (stopped) this.resume(name);
    const ends = [...this.#processes.values()].map(async ({ name, child }) => {
      if (!child) return;
      const gone = once(child, "exit");
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await gone;
      clearTimeout(late);
      this.#process(name).child = undefined;
    });
    await Promise.all(ends);
    await this.relays.close();
    process.off("exit", this.#killAll);
  }

  #killAll = (): void => {
    for (const { child } of this.#processes.values()) child?.kill("SIGKILL");
  };

  #process(name: string): Process {
    return this.#processes.get(name)!;
  }

  #add(name: string, args: string[]): void {
    this.#processes.set(name, { name, args, child: undefined, stopped: false, lost: false });
    if (this.setsClocks) this.setClock(name, 0);
  }

  #clockFile(name: string): string {
    return join(this.folder, `${name}.clock`);
  }

  #clockEnvironment(name: string): Record<string, string> {
    const { fakeTime } = this.#options;
    if (fakeTime === undefined) return {};
    return {
      LD_PRELOAD: fakeTime,
      FAKETIME_TIMESTAMP_FILE: this.#clockFile(name),
      FAKETIME_CACHE_DURATION: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    };
  }
}

/** Where Debian puts the library of the package `libfaketime`; undefined when it is not installed. */
export function findFakeTime(): string | undefined {
  const given = process.env["RINGSTOW_FAKETIME"];
  const places = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map(
    (machine) => `/usr/lib/${machine}/faketime/libfaketime.so.1`,
  );
  return [...(given ? [given] : []), ...places].find((path) => existsSync(path));
}

const calledFrom = (kind: number, i: number): string => `127.0.${kind}.${i + 1}`;

interface Ports {
  readonly peer: number;
  readonly http: number;
  readonly gateways: number;
}

const names = (kind: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${kind}-${i + 1}`);

/** Ports that are free where nodes and relays listen. */
async function freePorts(nodes: number, gateways: number): Promise<Ports> {
  const isFree = async (host: string, port: number): Promise<boolean> => {
    const server = createServer().listen(port, host);
    const free = await once(server, "listening").then(
      () => true,
      () => false,
    );
    if (free) {
      server.close();
      await once(server, "close");
    }
    return free;
  };
  for (;;) {
    const peer = 20_000 + Math.floor(Math.random() * 10_000);
    const ports = { peer, http: peer + 1, gateways: peer + 2 };
    const wanted: [string, number][] = [];
    for (let i = 1; i <= nodes; i++)
      for (const host of [`127.0.1.${i}`, `127.0.2.${i}`])
        wanted.push([host, ports.peer], [host, ports.http]);
    for (let i = 0; i < gateways; i++) wanted.push(["127.0.0.1", ports.gateways + i]);
    let free = true;
    for (const [host, port] of wanted) free &&= await isFree(host, port);
    if (free) return ports;
  }
}
