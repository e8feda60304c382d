// One simulated machine: a disk, a place in the network, and the processes that run on it one after the other. What
// is in Process dies with it; what is in Machine stays.
import { Peers } from "../../node/peers.ts";
import { type Log, type Ports } from "../../node/ports.ts";
import { requestGrant } from "../../node/route/grants.ts";
import { MemoryDisk, type StoreBatch } from "../../node/runtime/memory-disk.ts";
import { type MemoryNetwork } from "../../node/runtime/memory-network.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type Genesis } from "../../shared/genesis.ts";
import { type NodeId, type VoterId, voterIdOf } from "../../shared/ids.ts";
import { type ObjectService } from "../../shared/object-service.ts";
import { type Slice } from "../../shared/slices.ts";
import { DiskClock } from "./disk-clock.ts";
import { type Observer } from "./gated-transport.ts";
import { ProcessGate } from "./process-gate.ts";
import { type SeededChance } from "./seeded-chance.ts";
import {
  buildSimNode,
  type Identity,
  isOfGenesis,
  type MachineOptions,
  type SimNode,
} from "./sim-node.ts";
import { type ClockView, type VirtualClock } from "./virtual-clock.ts";

/** What all machines of a world share. */
export interface Surroundings {
  readonly clock: VirtualClock;
  readonly network: MemoryNetwork;
  readonly genesis: Genesis;
  readonly options: MachineOptions;
  /** Of the whole world: each machine forks its own. */
  readonly chance: SeededChance;
  /** Nodes that a view may name, those that are down too. */
  voters(): readonly VoterId[];
  /** Members that this machine, while it leads, is to give a slice; undefined: what the ring says. */
  wantedView(machine: Machine, slice: Slice): readonly VoterId[] | undefined;
  /** All faults are over: nothing is changed for no reason any more. */
  isCalm(): boolean;
  /** Peer addresses that a joiner asks. */
  seeds(): readonly string[];
  observe(machine: Machine): Pick<Observer, "deliver" | "asked">;
  log(machine: Machine): Log;
  /** Says what must not happen whatever the faults. */
  defect(text: string): void;
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
  /** Rejects when the process dies. */
  readonly death: Promise<never>;
  readonly die: () => void;
  /** undefined while a new node still asks for its id. */
  node: SimNode | undefined;
  ports: Ports | undefined;
  /** Resolves when a stop in good order has ended; undefined when none began. */
  stopping: Promise<void> | undefined;
}

const driftDefaultPpm = 200;
const startAgainMs = 1_000; // what watches over a process starts it again when it could not join

/** A new node has no id before the ring granted it one. */
type NewIdentity = Omit<Identity, "id"> & { readonly id: NodeId | undefined };

export class Machine {
  readonly number: number;
  readonly disk = new MemoryDisk();
  /** Power losses so far. */
  crashes = 0;
  /** Never comes back: its disk was wiped, or it left. */
  gone: "wiped" | "left" | undefined;
  readonly #around: Surroundings;
  readonly #chance: SeededChance;
  #identity: NewIdentity;
  #process: Process | undefined;
  #starts = 0;
  #slowDisk = 1;
  #wallOffsetMs = 0;

  constructor(number: number, identity: NewIdentity, around: Surroundings) {
    this.number = number;
    this.#identity = identity;
    this.#around = around;
    this.#chance = around.chance.fork(`machine ${number}`);
  }

  get address(): string {
    return this.#identity.peerAddress;
  }

  /** undefined before a new node was granted one. */
  get id(): NodeId | undefined {
    return this.#identity.id;
  }

  /** Who it is where it votes; undefined before it has an id, and once it is gone. */
  get voter(): VoterId | undefined {
    const { id, folder } = this.#identity;
    return id === undefined || this.gone ? undefined : voterIdOf(id, folder);
  }

  /** Whether a process lives, a paused one too. */
  get isUp(): boolean {
    return this.#process !== undefined;
  }

  /** The running node; undefined when it is down or has no id yet. */
  get node(): SimNode | undefined {
    return this.#process?.node;
  }

  /** What a client does here; rejects with ConnectionLost when the process is down or dies meanwhile. */
  async at<T>(work: (object: ObjectService) => Promise<T>): Promise<T> {
    const process = this.#process;
    if (!process?.node) throw new ConnectionLost(`node ${this.number}`);
    const { gate, node } = process;
    const answer = async (): Promise<T> => {
      await gate.pass();
      try {
        return await work(node.object);
      } finally {
        await gate.pass();
      }
    };
    return Promise.race([answer(), process.death]);
  }

  /** Power off: what was not synced is lost (whole batches of it may have reached the disk), nothing goes on. */
  crash(): void {
    if (!this.#process) return;
    this.crashes++;
    this.#powerOff();
  }

  /** Starts the node on its disk, in a new life; waits when it is just being stopped. */
  async start(): Promise<void> {
    await this.#process?.stopping;
    if (this.#process || this.gone) return;
    const process = this.#begin();
    try {
      await Promise.race([this.#run(process), process.death]);
    } catch (error) {
      if (error instanceof ConnectionLost) return;
      const joins = error instanceof RingstowError && error.code === "Unavailable";
      if (!joins || isOfGenesis(this.#around.genesis, this.id)) {
        this.#around.defect(`node ${this.number} does not start: ${describe(error)}`);
        return;
      }
      // No seed answered it: its process ended, and is started again.
      this.#powerOff();
      await this.#around.clock.sleep(startAgainMs);
      await this.start();
    }
  }

  /** Ends the process in good order. */
  shutDown(): Promise<void> {
    const process = this.#process;
    if (!process) return Promise.resolve();
    process.stopping ??= this.#shutDown(process);
    return process.stopping;
  }

  /** The process stands still: its timers, disk and messages wait. */
  pause(): void {
    this.#process?.clock.pause();
    this.#process?.gate.pause();
  }

  resume(): void {
    this.#process?.gate.resume();
    this.#process?.clock.resume();
  }

  /** Makes each disk operation `factor` times as long. */
  slowDisk(factor: number): void {
    this.#slowDisk = factor;
    if (this.#process) this.#process.disk.factor = factor;
  }

  /** Sets the wall clock off by so much, now and after restarts. */
  setWall(offsetMs: number): void {
    this.#wallOffsetMs = offsetMs;
    if (this.#process) this.#process.clock.wallOffsetMs = offsetMs;
  }

  /** From now on the disk refuses every write, or takes them again. */
  fillDisk(full: boolean): void {
    this.disk.refusal = full ? new RingstowError("DiskFull", "No space is left") : undefined;
  }

  /**
   * The data folder is deleted under a dead process. A node never votes again under this identity; that it may start
   * all the same is a defect for mutation tests.
   */
  wipe(options: { mayStart?: boolean } = {}): void {
    this.crash();
    this.disk.wipe();
    if (options.mayStart !== true) this.gone = "wiped";
  }

  /** Ends in good order and never comes back. */
  async leave(): Promise<void> {
    this.gone = "left";
    this.resume();
    await this.shutDown();
  }

  // ------------------------------------------------------------------ inside

  #begin(): Process {
    this.#starts++;
    const { clock: time, chance, options } = this.#around;
    const drift = options.driftPpm ?? driftDefaultPpm;
    const driftPpm = drift * (2 * chance.fork(`drift ${this.number}`).fraction() - 1);
    const clock = time.view({ wallOffsetMs: this.#wallOffsetMs, driftPpm });
    const disk = new DiskClock(clock);
    disk.factor = this.#slowDisk;
    const { promise: death, reject } = Promise.withResolvers<never>();
    death.catch(() => {}); // whoever waits on it races it; nobody may
    const die = (): void => reject(new ConnectionLost(`node ${this.number}`));
    const gate = new ProcessGate();
    const begun = { clock, disk, gate, death, die };
    return (this.#process = { ...begun, node: undefined, ports: undefined, stopping: undefined });
  }

  async #run(process: Process): Promise<void> {
    if (this.id === undefined) {
      const id = await this.#askForId();
      if (this.#process !== process) return; // died meanwhile
      this.#identity = { ...this.#identity, id };
    }
    const { node, ports } = buildSimNode(this.#around, {
      identity: { ...this.#identity, id: this.id! },
      starts: this.#starts,
      disk: this.disk,
      clock: process.clock,
      diskClock: process.disk,
      gate: process.gate,
      wantedView: (present, slice) => this.#around.wantedView(this, slice) ?? this.#unrest(present),
      log: this.#around.log(this),
      observer: {
        ...this.#around.observe(this),
        fault: (name, error) => {
          // A handler may find its store closed when its node stops: its caller is told that the node went away.
          if (this.#process !== process || process.stopping) return;
          this.#around.defect(`"${name}" at node ${this.number} threw ${describe(error)}`);
        },
      },
    });
    process.node = node;
    process.ports = ports;
    await node.start();
  }

  /** A new node's first step; its folder is the same when it asks again. */
  async #askForId(): Promise<NodeId> {
    const { network, seeds } = this.#around;
    const transport = network.attach(this.address, undefined);
    const id = await requestGrant(new Peers(transport), seeds(), this.#identity.folder);
    await transport.close();
    return id;
  }

  /** Now and then other members for a view, some or all of them. */
  #unrest(present: readonly VoterId[]): readonly VoterId[] | undefined {
    const chance = this.#chance;
    if (this.#around.isCalm()) return undefined;
    if (!chance.happens(this.#around.options.restlessness ?? 0)) return undefined;
    const others = this.#around.voters().filter((voter) => !present.includes(voter));
    const next = [...present];
    for (const voter of chance.shuffle(others).slice(0, 1 + chance.below(present.length))) {
      next[chance.below(next.length)] = voter;
    }
    return next;
  }

  #powerOff(): void {
    const process = this.#process!;
    this.#process = undefined;
    process.gate.kill();
    process.clock.kill();
    if (this.#around.network.find(this.address)) this.#around.network.crash(this.address);
    this.disk.powerLoss((batches) => this.#reached(batches));
    process.die();
  }

  /** What of a sync under way is on the disk when the power goes: the first batches, each as a whole. */
  #reached(batches: readonly StoreBatch[]): readonly StoreBatch[] {
    if (batches.length === 0 || this.#chance.happens(0.5)) return [];
    const whole = this.#chance.below(batches.length + 1);
    const reached = batches.slice(0, whole);
    const torn = batches[whole];
    if (this.#around.options.tearingDisks === true && torn)
      return [...reached, torn.slice(0, this.#chance.below(torn.length))];
    return reached;
  }

  async #shutDown(process: Process): Promise<void> {
    const end = async (): Promise<void> => {
      await process.node?.stop();
      await process.ports?.store.settled();
      await process.ports?.transport.close();
      await process.ports?.store.close();
      await process.ports?.blocks.close();
    };
    if (!process.node) {
      this.#powerOff();
      return;
    }
    try {
      await Promise.race([end(), process.death]);
    } catch (error) {
      if (error instanceof ConnectionLost) return; // the power went meanwhile
      this.#around.defect(`node ${this.number} does not stop in good order: ${describe(error)}`);
      this.crash();
      return;
    }
    process.clock.kill();
    process.gate.kill();
    this.#process = undefined;
    process.die();
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
