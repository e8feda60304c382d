// A whole cluster in one process: real nodes over virtual time, a simulated network and disks that forget what was
// not synced at a power loss. Everything random comes from one seed.
import { composeNode, type ComposeOptions, type RingstowNode } from "../../node/compose.ts";
import { type NodeConfig } from "../../node/config.ts";
import { type Log, type Ports } from "../../node/ports.ts";
import { openMemoryBlocks } from "../../node/runtime/memory-blocks.ts";
import { MemoryNetwork } from "../../node/runtime/memory-network.ts";
import { MemoryDisk, openMemoryStore } from "../../node/runtime/memory-store.ts";
import { nodeDigest } from "../../node/runtime/node-digest.ts";
import { type Genesis } from "../../shared/genesis.ts";
import { type NodeId } from "../../shared/ids.ts";
import { type ObjectService } from "../../shared/object-service.ts";
import { DiskClock } from "./disk-clock.ts";
import { GatedTransport } from "./gated-transport.ts";
import { lyingStore } from "./lying-store.ts";
import { makeGenesis } from "./make-genesis.ts";
import { type LinkQuality, NetworkConditions, PERFECT } from "./network-conditions.ts";
import { ProcessGate } from "./process-gate.ts";
import { SeededChance } from "./seeded-chance.ts";
import { Trace } from "./trace.ts";
import { VirtualClock, type ClockView } from "./virtual-clock.ts";

export type BuildNode = (
  config: NodeConfig,
  ports: Ports,
  options: ComposeOptions,
) => Pick<RingstowNode, "object" | "index" | "start" | "stop">;

export interface WorldOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly copies?: number;
  readonly zones?: number;
  /** How long a disk needs to make a write durable. */
  readonly syncMs?: number;
  readonly quality?: Partial<LinkQuality>;
  readonly routing?: NodeConfig["routing"];
  /** Largest error of a node's clock rate. */
  readonly driftPpm?: number;
  readonly faults?: ComposeOptions["faults"];
  readonly build?: BuildNode;
  /** A defect for mutation tests: disks that answer before a write is durable. */
  readonly lyingDisks?: boolean;
}

/** The client's connection to its coordinator broke: the outcome of its request is unknown. */
export class ConnectionLost extends Error {
  constructor(node: string) {
    super(`Cannot go on: the connection to ${node} broke`);
    this.name = "ConnectionLost";
  }
}

/** One life of a node's process. */
interface Process {
  readonly clock: ClockView;
  readonly disk: DiskClock;
  readonly gate: ProcessGate;
  readonly ports: Ports;
  readonly node: ReturnType<BuildNode>;
  /** Rejects when the process dies. */
  readonly death: Promise<never>;
  /** Resolves when a stop in good order has ended; undefined when none began. */
  stopping: Promise<void> | undefined;
  die(): void;
}

export interface LogLine {
  readonly atMs: number;
  readonly node: number;
  readonly level: "info" | "warn" | "error";
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

const logLinesMax = 5_000;
const driftDefaultPpm = 200;

export class World {
  readonly clock = new VirtualClock();
  readonly trace = new Trace();
  readonly chance: SeededChance;
  readonly conditions: NetworkConditions;
  readonly network: MemoryNetwork;
  readonly genesis: Genesis;
  /** The newest lines of all nodes. */
  readonly log: LogLine[] = [];
  /** What must not happen whatever the faults: handlers that threw, nodes that did not start. */
  readonly defects: string[] = [];
  crashes = 0;
  readonly #options: WorldOptions;
  readonly #disks: MemoryDisk[] = [];
  readonly #processes: (Process | undefined)[] = [];
  readonly #incarnations: number[] = [];
  readonly #slowDisk: number[] = [];
  readonly #wallOffsetMs: number[] = [];

  constructor(options: WorldOptions) {
    this.#options = options;
    this.chance = new SeededChance(options.seed);
    const quality = { ...PERFECT, ...options.quality };
    this.conditions = new NetworkConditions(quality, this.chance.fork("network"));
    this.network = new MemoryNetwork(this.clock, this.conditions.policy);
    this.genesis = makeGenesis(options, this.chance.fork("genesis"));
    for (let i = 0; i < options.nodes; i++) {
      this.#disks.push(new MemoryDisk());
      this.#processes.push(undefined);
      this.#incarnations.push(0);
      this.#slowDisk.push(1);
      this.#wallOffsetMs.push(0);
    }
  }

  get size(): number {
    return this.#options.nodes;
  }

  /** Starts all nodes and runs until they are up. */
  async start(): Promise<void> {
    const starts = this.genesis.nodes.map((_, i) => this.restart(i));
    await this.clock.settle(Promise.all(starts), { deadlineMs: this.clock.now + 60_000 });
  }

  /** Stops all nodes in good order and runs until they ended. */
  async stop(): Promise<void> {
    const stops = this.#processes.map((_, i) => this.shutDown(i));
    await this.clock.settle(Promise.all(stops), { deadlineMs: this.clock.now + 60_000 });
  }

  id(i: number): NodeId {
    return this.genesis.nodes[i]!.id;
  }

  address(i: number): string {
    return this.genesis.nodes[i]!.peerAddress;
  }

  addresses(indices: readonly number[]): string[] {
    return indices.map((i) => this.address(i));
  }

  /** Number of the node with this id. */
  numberOf(id: NodeId): number {
    return this.genesis.nodes.findIndex((node) => node.id === id);
  }

  isUp(i: number): boolean {
    return this.#processes[i] !== undefined;
  }

  /** Numbers of the nodes whose processes live, paused ones too. */
  up(): number[] {
    return this.#processes.flatMap((process, i) => (process ? [i] : []));
  }

  /** The running node itself, for looking inside. Throws when it is down. */
  node(i: number): ReturnType<BuildNode> {
    const process = this.#processes[i];
    if (!process) throw new Error(`Cannot look into node ${i}: it is down`);
    return process.node;
  }

  /** What a client does at coordinator `i`; rejects with ConnectionLost when that is down or dies meanwhile. */
  async at<T>(i: number, work: (object: ObjectService) => Promise<T>): Promise<T> {
    const process = this.#processes[i];
    if (!process) throw new ConnectionLost(`node ${i}`);
    const answer = async (): Promise<T> => {
      await process.gate.pass();
      try {
        return await work(process.node.object);
      } finally {
        await process.gate.pass();
      }
    };
    return Promise.race([answer(), process.death]);
  }

  /** Power off: what was not synced is lost, and nothing of the process goes on. */
  crash(i: number): void {
    const process = this.#processes[i];
    if (!process) return;
    this.crashes++;
    this.#processes[i] = undefined;
    process.gate.kill();
    process.clock.kill();
    this.network.crash(this.address(i));
    this.#disks[i]!.powerLoss();
    process.die();
  }

  /** Starts the node again on its disk, as a new incarnation; waits when it is just being stopped. */
  async restart(i: number): Promise<void> {
    await this.#processes[i]?.stopping;
    if (this.#processes[i]) return;
    const process = this.#launch(i);
    this.#processes[i] = process;
    try {
      await Promise.race([process.node.start(), process.death]);
    } catch (error) {
      if (error instanceof ConnectionLost) return;
      this.defects.push(`node ${i} does not start: ${String(error)}`);
    }
  }

  /** Ends the process in good order. */
  shutDown(i: number): Promise<void> {
    const process = this.#processes[i];
    if (!process) return Promise.resolve();
    process.stopping ??= this.#shutDown(i, process);
    return process.stopping;
  }

  async #shutDown(i: number, process: Process): Promise<void> {
    const end = async (): Promise<void> => {
      await process.node.stop();
      await process.ports.store.settled();
      await process.ports.transport.close();
      await process.ports.store.close();
      await process.ports.blocks.close();
    };
    try {
      await Promise.race([end(), process.death]);
    } catch (error) {
      if (error instanceof ConnectionLost) return; // the power went meanwhile
      const text = error instanceof Error ? error.stack : String(error);
      this.defects.push(`node ${i} does not stop in good order: ${text}`);
      this.crash(i);
      return;
    }
    process.clock.kill();
    process.gate.kill();
    this.#processes[i] = undefined;
    process.die();
  }

  /** The process stands still: its timers, disk and messages wait. */
  pause(i: number): void {
    this.#processes[i]?.clock.pause();
    this.#processes[i]?.gate.pause();
  }

  resume(i: number): void {
    this.#processes[i]?.gate.resume();
    this.#processes[i]?.clock.resume();
  }

  /** Makes each disk operation of a node `factor` times as long. */
  slowDisk(i: number, factor: number): void {
    this.#slowDisk[i] = factor;
    const process = this.#processes[i];
    if (process) process.disk.factor = factor;
  }

  /** Sets a node's wall clock off by so much, now and after restarts. */
  setWall(i: number, offsetMs: number): void {
    this.#wallOffsetMs[i] = offsetMs;
    const process = this.#processes[i];
    if (process) process.clock.wallOffsetMs = offsetMs;
  }

  /** Ends every fault: links whole, all nodes resumed and up, disks and clocks right. */
  async heal(): Promise<void> {
    this.conditions.heal();
    const starts: Promise<void>[] = [];
    for (let i = 0; i < this.size; i++) {
      this.slowDisk(i, 1);
      this.setWall(i, 0);
      this.resume(i);
      starts.push(this.restart(i));
    }
    await this.clock.settle(Promise.all(starts), { deadlineMs: this.clock.now + 60_000 });
  }

  #launch(i: number): Process {
    const { genesis } = this;
    const self = genesis.nodes[i]!;
    const incarnation = ++this.#incarnations[i]!;
    const chance = this.chance.fork(`node ${i} life ${incarnation}`);
    const drift = this.#options.driftPpm ?? driftDefaultPpm;
    const driftPpm = drift * (2 * this.chance.fork(`drift ${i}`).fraction() - 1);
    const clock = this.clock.view({ wallOffsetMs: this.#wallOffsetMs[i]!, driftPpm });
    const disk = new DiskClock(clock);
    disk.factor = this.#slowDisk[i]!;
    const gate = new ProcessGate();
    const inner = this.network.attach(self.peerAddress, self.id);
    const syncMs = this.#options.syncMs ?? 0;
    const store = openMemoryStore(this.#disks[i]!, disk, { syncMs });
    const ports: Ports = {
      clock,
      chance,
      store: this.#options.lyingDisks === true ? lyingStore(store) : store,
      blocks: openMemoryBlocks(this.#disks[i]!, disk, { syncMs }),
      transport: new GatedTransport(inner, gate, {
        deliver: (from, name) => this.trace.add(this.clock.now, from, self.peerAddress, name),
        fault: (name, error) => {
          // A handler may find its store closed when its node stops: its caller is told that the node went away.
          if (this.#processes[i]?.gate !== gate || this.#processes[i].stopping) return;
          const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
          this.defects.push(`at ${this.clock.now} ms "${name}" at node ${i} threw ${text}`);
        },
      }),
      digest: nodeDigest,
      log: this.#logOf(i),
    };
    const config: NodeConfig = {
      genesis,
      id: self.id,
      folder: self.folder,
      url: self.url,
      peerAddress: self.peerAddress,
      zone: self.zone,
      position: undefined,
      incarnation,
      routing: this.#options.routing ?? "table",
      seeds: [],
      gatewaySecret: new Uint8Array(32),
      hopSecret: new Uint8Array(32),
    };
    let die = (): void => {};
    const death = new Promise<never>((_, reject) => {
      die = () => reject(new ConnectionLost(`node ${i}`));
    });
    death.catch(() => {}); // whoever waits on it races it; nobody may
    const build = this.#options.build ?? composeNode;
    const node = build(config, ports, { faults: this.#options.faults });
    return { clock, disk, gate, ports, node, death, stopping: undefined, die };
  }

  #logOf(node: number): Log {
    const write =
      (level: LogLine["level"]) =>
      (event: string, fields?: Readonly<Record<string, unknown>>): void => {
        if (this.log.length >= logLinesMax) this.log.splice(0, logLinesMax / 2);
        this.log.push({ atMs: this.clock.now, node, level, event, fields });
      };
    return { info: write("info"), warn: write("warn"), error: write("error") };
  }
}
