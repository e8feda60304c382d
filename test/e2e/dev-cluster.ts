// A real cluster for tests: `ringstow dev` as a child process on free ports, its data in a temporary folder.
import { type ChildProcess, spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readGenesis } from "../../node/cli/cluster-files.ts";

export interface DevNode {
  readonly id: string;
  readonly url: string;
  readonly pid: number;
  readonly dataDir: string;
}

export interface DevFile {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly bucket: string;
  readonly nodes: readonly DevNode[];
  readonly gatewayPid: number;
}

export const root = fileURLToPath(new URL("../..", import.meta.url));
export const ringstowMain = join(root, "node/cli/main.ts");

/**
 * Polls until `check` gives something; the only way to wait in end-to-end tests. What costs the cluster much is asked
 * seldom.
 * @param what is awaited, for the error; a function tells what was seen last as well
 */
export async function until<T>(
  what: string | (() => string),
  check: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 30_000,
  everyMs = 50,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await check();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) {
      const told = typeof what === "string" ? what : what();
      throw new Error(`Waited ${timeoutMs} ms in vain for: ${told}`);
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

/** The first of `count` free ports in a row. */
export async function freePorts(count: number): Promise<number> {
  const isFree = (port: number): Promise<boolean> =>
    new Promise((resolve) => {
      const server = createServer();
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
    });
  for (
    let first = 20_000 + Math.floor(Math.random() * 20_000);
    ;
    first = first < 60_000 ? first + count : 20_000
  ) {
    let free = true;
    for (let i = 0; free && i < count; i++) free = await isFree(first + i);
    if (free) return first;
  }
}

export interface Running {
  readonly process: ChildProcess;
  /** Everything it printed so far, both streams. */
  output(): string;
  readonly exited: Promise<number | null>;
}

/** Runs the ringstow command from the sources. */
export function ringstow(args: readonly string[]): Running {
  const child = spawn(process.execPath, [ringstowMain, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const exited = new Promise<number | null>((resolve) =>
    child.once("exit", (code) => resolve(code)),
  );
  return { process: child, output: () => output, exited };
}

export class DevCluster {
  readonly folder: string;
  readonly port: number;
  readonly #nodes: number;
  readonly #flags: readonly string[];
  #running: Running | undefined;
  readonly #restarted: Running[] = [];
  readonly #joined: Running[] = [];
  #joins = 0;

  private constructor(folder: string, port: number, nodes: number, flags: readonly string[]) {
    this.folder = folder;
    this.port = port;
    this.#nodes = nodes;
    this.#flags = flags;
  }

  /** @param flags more of `ringstow dev` */
  static async start(nodes = 5, flags: readonly string[] = []): Promise<DevCluster> {
    const folder = mkdtempSync(join(tmpdir(), "ringstow-"));
    const cluster = new DevCluster(folder, await freePorts(2 * nodes + 1), nodes, flags);
    await cluster.run();
    return cluster;
  }

  /** Starts `ringstow dev` (again) on the folder; resolves when it answers. */
  async run(): Promise<DevFile> {
    rmSync(join(this.folder, "dev.json"), { force: true });
    const args = [
      "dev",
      "--nodes",
      String(this.#nodes),
      "--port",
      String(this.port),
      "--data",
      this.folder,
      ...this.#flags,
    ];
    const running = ringstow(args);
    this.#running = running;
    let gone = false;
    void running.exited.then(() => (gone = true));
    await until("the cluster to be ready", () => {
      if (gone) throw new Error(`ringstow dev ended early:\n${running.output()}`);
      return existsSync(join(this.folder, "dev.json")) && running.output().includes("is ready")
        ? true
        : undefined;
    });
    return this.dev;
  }

  get dev(): DevFile {
    return JSON.parse(readFileSync(join(this.folder, "dev.json"), "utf8")) as DevFile;
  }

  output(): string {
    return this.#running?.output() ?? "";
  }

  /** SIGKILL to one node; resolves when the process is gone. */
  async kill(i: number, pid = this.dev.nodes[i]!.pid): Promise<void> {
    process.kill(pid, "SIGKILL");
    await until(`process ${pid} to be gone`, () => (isAlive(pid) ? undefined : true));
  }

  /** Starts a killed node again by hand. */
  async restart(i: number): Promise<number> {
    const running = ringstow(["node", "--data", this.dev.nodes[i]!.dataDir]);
    this.#restarted.push(running);
    await until("the node to answer", () => {
      if (running.process.exitCode !== null)
        throw new Error(`The node ended:\n${running.output()}`);
      return running.output().includes("answers at") ? true : undefined;
    });
    return running.process.pid!;
  }

  /** Starts one more node in an empty folder, which joins by the first one's address. Resolves when it answers. */
  async join(): Promise<DevNode> {
    const dataDir = join(this.folder, `joined-${++this.#joins}`);
    mkdirSync(dataDir);
    copyFileSync(join(this.folder, "cluster.secret"), join(dataDir, "cluster.secret"));
    const seed = (await readGenesis(this.folder)).nodes[0]!.peerAddress;
    const port = await freePorts(2);
    const url = `http://127.0.0.1:${port}`;
    const args = ["node", "--data", dataDir, "--join", seed, "--url", url];
    const running = ringstow([...args, "--peer", `127.0.0.1:${port + 1}`, ...this.#flags]);
    this.#joined.push(running);
    const id = await until("the new node to answer", () => {
      if (running.process.exitCode !== null) throw new Error(`It ended:\n${running.output()}`);
      return /Node ([0-9a-f]{32}) answers/u.exec(running.output())?.[1];
    });
    return { id, url, pid: running.process.pid!, dataDir };
  }

  /** `ringstow node leave` for a node that joined; resolves when it holds nothing any more and has ended. */
  async leave({ dataDir, pid }: DevNode): Promise<string> {
    const command = ringstow(["node", "leave", "--data", dataDir]);
    if ((await command.exited) !== 0) throw new Error(`It does not leave:\n${command.output()}`);
    const left = this.#joined.find(({ process: child }) => child.pid === pid)!;
    left.process.kill("SIGTERM");
    await left.exited;
    return command.output();
  }

  /** SIGKILL to everything at once. */
  async crash(): Promise<void> {
    const { nodes, gatewayPid } = this.dev;
    const pids = [this.#running!.process.pid!, ...nodes.map(({ pid }) => pid), gatewayPid].filter(
      isAlive,
    );
    for (const pid of pids) process.kill(pid, "SIGKILL");
    for (const pid of pids)
      await until(`process ${pid} to be gone`, () => (isAlive(pid) ? undefined : true));
  }

  /** SIGTERM, or SIGINT as Ctrl-C sends it; resolves with the exit code. */
  async stop(signal: "SIGTERM" | "SIGINT" = "SIGTERM"): Promise<number | null> {
    for (const { process: child, exited } of [...this.#restarted.splice(0), ...this.#joined]) {
      child.kill("SIGTERM");
      await exited;
    }
    const running = this.#running;
    if (!running) return null;
    running.process.kill(signal);
    return running.exited;
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // A zombie answers signal 0 until its parent has read its end.
  try {
    return !/^State:\s+Z/mu.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return !existsSync("/proc");
  }
}

/** Resident memory of a process in bytes; its peak since start with `peak`. */
export function residentBytes(pid: number, peak = false): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = new RegExp(`^${peak ? "VmHWM" : "VmRSS"}:\\s+(\\d+) kB`, "mu");
  return Number(field.exec(status)![1]) * 1024;
}

/** Open descriptors of a process. */
export async function descriptors(pid: number): Promise<number> {
  const { readdir } = await import("node:fs/promises");
  return (await readdir(`/proc/${pid}/fd`)).length;
}
