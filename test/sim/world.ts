// A whole cluster in one process: real nodes over virtual time, a simulated network and disks that forget what was
// not synced at a power loss. Everything random comes from one seed. Nodes have numbers: those of genesis first, by
// rising id, then those that were added, in that order.
import { genesisViews } from "../../node/index/views.ts";
import { type Log } from "../../node/ports.ts";
import { MemoryNetwork } from "../../node/runtime/memory-network.ts";
import { nodeDigest } from "../../node/runtime/node-digest.ts";
import { type Genesis } from "../../shared/genesis.ts";
import { type BlockId, type NodeId, type VoterId, parseFolderId, toHex } from "../../shared/ids.ts";
import { pieceBytes } from "../../shared/limits.ts";
import { type ObjectService } from "../../shared/object-service.ts";
import { type Slice } from "../../shared/slices.ts";
import { ElectionsSeen } from "./elections-seen.ts";
import { Machine, type Surroundings } from "./machine.ts";
import { type MachineOptions, type SimNode } from "./sim-node.ts";
import { makeGenesis } from "./make-genesis.ts";
import { Operator } from "./operator.ts";
import { type LinkQuality, NetworkConditions, PERFECT } from "./network-conditions.ts";
import { SeededChance } from "./seeded-chance.ts";
import { Trace } from "./trace.ts";
import { ViewsSeen } from "./views-seen.ts";
import { VirtualClock } from "./virtual-clock.ts";

export interface WorldOptions extends MachineOptions {
  readonly seed: number;
  /** Nodes of genesis. */
  readonly nodes: number;
  readonly copies?: number;
  readonly zones?: number;
  readonly quality?: Partial<LinkQuality>;
}

export interface LogLine {
  readonly atMs: number;
  readonly node: number;
  readonly level: "info" | "warn" | "error";
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

const logLinesMax = 5_000;
const startWithinMs = 60_000;
const courtedMs = 30_000; // a decision takes no longer, or is given up

export class World {
  readonly clock = new VirtualClock();
  readonly trace = new Trace();
  readonly elections = new ElectionsSeen();
  readonly views: ViewsSeen;
  readonly chance: SeededChance;
  readonly conditions: NetworkConditions;
  readonly network: MemoryNetwork;
  readonly genesis: Genesis;
  /** The newest lines of all nodes. */
  readonly log: LogLine[] = [];
  /** What must not happen whatever the faults: handlers that threw, nodes that did not start. */
  readonly defects: string[] = [];
  readonly machines: Machine[] = [];
  readonly operator: Operator;
  readonly #traps = new Map<number, { readonly name: string; readonly action: () => void }>();
  readonly #zones: number;
  /** Members of slices, by who leads them. */
  readonly #wanted = new Map<string, readonly VoterId[]>();
  readonly #around: Surroundings;
  /** When each node was last asked to take part in a next view. */
  readonly #courtedMs = new Map<number, number>();
  #calm = false;

  constructor(options: WorldOptions) {
    this.chance = new SeededChance(options.seed);
    this.#zones = options.zones ?? 1;
    const quality = { ...PERFECT, ...options.quality };
    this.conditions = new NetworkConditions(quality, this.chance.fork("network"));
    this.network = new MemoryNetwork(this.clock, this.conditions.policy);
    this.conditions.onCorrupted = (from, to, afterMs) => {
      this.clock.after(afterMs, () => this.network.breakLink(from, to));
    };
    this.operator = new Operator(this.network, this.chance.fork("operator"));
    this.genesis = makeGenesis(options, this.chance.fork("genesis"));
    this.views = new ViewsSeen(genesisViews(this.genesis));
    this.#around = {
      clock: this.clock,
      network: this.network,
      genesis: this.genesis,
      options,
      chance: this.chance,
      voters: () => this.machines.flatMap(({ voter }) => voter ?? []),
      wantedView: ({ number }, slice) => this.#wanted.get(`${slice} at ${number}`),
      isCalm: () => this.#calm,
      seeds: () => this.genesis.nodes.map((node) => node.peerAddress),
      observe: (machine) => ({
        deliver: (from, name, request) => {
          this.trace.add(this.clock.now, from, machine.address, name);
          this.elections.see(name, request);
          if (name === "index.precopy") this.#courtedMs.set(machine.number, this.clock.now);
          const trap = this.#traps.get(machine.number);
          if (trap && name === trap.name) {
            this.#traps.delete(machine.number);
            trap.action();
          }
        },
        asked: (name, request) => this.views.see(machine.voter, name, request),
      }),
      log: (machine) => this.#logOf(machine.number),
      defect: (text) => this.defects.push(`at ${this.clock.now} ms ${text}`),
    };
    for (const node of this.genesis.nodes)
      this.machines.push(new Machine(this.machines.length, node, this.#around));
  }

  /** Nodes there ever were. */
  get size(): number {
    return this.machines.length;
  }

  get crashes(): number {
    return this.machines.reduce((sum, machine) => sum + machine.crashes, 0);
  }

  /** Starts all nodes and runs until they are up. */
  async start(): Promise<void> {
    await this.#settleAll(this.machines.map((machine) => machine.start()));
  }

  /** Stops all nodes in good order and runs until they ended. */
  async stop(): Promise<void> {
    await this.#settleAll(this.machines.map((machine) => machine.shutDown()));
  }

  /** A machine with an empty data folder; restart() starts it, and it joins the ring. Gives its number. */
  addNode(): number {
    const number = this.size;
    const folder = parseFolderId(toHex(this.chance.fork(`folder ${number}`).bytes(8)));
    const [url, peerAddress] = [`http://node-${number}`, `node-${number}:1`];
    const zone = `zone-${number % this.#zones}`;
    const identity = { id: undefined, folder, url, peerAddress, zone };
    this.machines.push(new Machine(number, identity, this.#around));
    return number;
  }

  /** Throws when the node has no id yet. */
  id(i: number): NodeId {
    const { id } = this.machines[i]!;
    if (id === undefined) throw new Error(`Cannot name node ${i}: it has not joined`);
    return id;
  }

  address(i: number): string {
    return this.machines[i]!.address;
  }

  addresses(indices: readonly number[]): string[] {
    return indices.map((i) => this.address(i));
  }

  /** Number of the node with this id. */
  numberOf(id: NodeId): number {
    return this.machines.findIndex((machine) => machine.id === id);
  }

  isUp(i: number): boolean {
    return this.machines[i]!.isUp;
  }

  /** Numbers of the nodes whose processes live, paused ones too, new ones that have no id yet not. */
  up(): number[] {
    return this.machines.flatMap(({ node }, i) => (node ? [i] : []));
  }

  /** The running node itself, for looking inside. Throws when it is down. */
  node(i: number): SimNode {
    const { node } = this.machines[i]!;
    if (!node) throw new Error(`Cannot look into node ${i}: it is down`);
    return node;
  }

  /**
   * From now on these nodes are to be the voters of a slice, in this order of preference for the lead: whichever of
   * `leaders` leads it changes its view to that, whatever the ring says.
   */
  wantView(slice: Slice, members: readonly number[], leaders?: readonly number[]): void {
    const voters = members.map((i) => {
      const { voter } = this.machines[i]!;
      if (voter === undefined) throw new Error(`Cannot want node ${i} in a view: it is gone`);
      return voter;
    });
    const all = this.machines.map(({ number }) => number);
    for (const leader of leaders ?? all) this.#wanted.set(`${slice} at ${leader}`, voters);
  }

  /** Does something, once, when the next message of this name reaches a node. Gives how to take it back. */
  onNext(i: number, name: string, action: () => void): () => void {
    const trap = { name, action };
    this.#traps.set(i, trap);
    return () => {
      if (this.#traps.get(i) === trap) this.#traps.delete(i);
    };
  }

  /** What a client does at coordinator `i`; rejects with ConnectionLost when that is down or dies meanwhile. */
  at<T>(i: number, work: (object: ObjectService) => Promise<T>): Promise<T> {
    return this.machines[i]!.at(work);
  }

  /** Whether a view with this node may be about to be decided. */
  isCourted(i: number): boolean {
    return this.clock.now - (this.#courtedMs.get(i) ?? -Infinity) < courtedMs;
  }

  crash(i: number): void {
    this.machines[i]!.crash();
  }

  restart(i: number): Promise<void> {
    return this.machines[i]!.start();
  }

  shutDown(i: number): Promise<void> {
    return this.machines[i]!.shutDown();
  }

  pause(i: number): void {
    this.machines[i]!.pause();
  }

  resume(i: number): void {
    this.machines[i]!.resume();
  }

  /** Bit rot: one byte of a block's file changes. False when the node has no such block. */
  rot(i: number, block: BlockId, at = 0): boolean {
    const file = this.machines[i]!.disk.blocks.get(block);
    if (!file) return false;
    file.data[at]! ^= 1;
    return true;
  }

  /** Blocks on a node's disk. */
  blocksOf(i: number): BlockId[] {
    return [...this.machines[i]!.disk.blocks.keys()];
  }

  /** Whether a node's disk has a block, whole. */
  hasBlock(i: number, block: BlockId): boolean {
    const file = this.machines[i]!.disk.blocks.get(block);
    return (
      file !== undefined &&
      file.pieceCrcs.every((crc, n) => {
        const piece = file.data.subarray(n * pieceBytes, (n + 1) * pieceBytes);
        return nodeDigest.crc32(piece) === crc;
      })
    );
  }

  slowDisk(i: number, factor: number): void {
    this.machines[i]!.slowDisk(factor);
  }

  setWall(i: number, offsetMs: number): void {
    this.machines[i]!.setWall(offsetMs);
  }

  /** Ends every fault that can end: links whole, all nodes but those that are gone up, disks and clocks right. */
  async heal(): Promise<void> {
    this.#calm = true;
    this.conditions.heal();
    await this.#settleAll(
      this.machines.map((machine) => {
        machine.slowDisk(1);
        machine.fillDisk(false);
        machine.setWall(0);
        machine.resume();
        return machine.start();
      }),
    );
  }

  async #settleAll(work: readonly Promise<void>[]): Promise<void> {
    await this.clock.settle(Promise.all(work), { deadlineMs: this.clock.now + startWithinMs });
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
