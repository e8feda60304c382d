// Builds the node of a simulated process: the real one over ports that the simulator fulfils.
import { composeNode, type ComposeOptions, type RingstowNode } from "../../node/compose.ts";
import { type NodeConfig } from "../../node/config.ts";
import { type Clock, type Log, type Ports } from "../../node/ports.ts";
import { type MemoryDisk } from "../../node/runtime/memory-disk.ts";
import { openMemoryBlocks } from "../../node/runtime/memory-blocks.ts";
import { openMemoryStore } from "../../node/runtime/memory-store.ts";
import { nodeDigest } from "../../node/runtime/node-digest.ts";
import { type Genesis, type GenesisNode } from "../../shared/genesis.ts";
import { type NodeId, type VoterId } from "../../shared/ids.ts";
import { type Slice } from "../../shared/slices.ts";
import { GatedTransport, type Observer } from "./gated-transport.ts";
import { lyingStore } from "./lying-store.ts";
import { type Surroundings } from "./machine.ts";
import { type ProcessGate } from "./process-gate.ts";

/** A whole node, or what stands in for one in tests of the simulator itself. */
export type SimNode = Pick<RingstowNode, "object" | "index" | "start" | "stop"> &
  Partial<RingstowNode>;

export type BuildNode = (config: NodeConfig, ports: Ports, options: ComposeOptions) => SimNode;

/** How machines of a world are built. */
export interface MachineOptions {
  /** How long a disk needs to make a write durable. */
  readonly syncMs?: number;
  readonly routing?: NodeConfig["routing"];
  /** Largest error of a node's clock rate, in millionths. */
  readonly driftPpm?: number;
  readonly faults?: ComposeOptions["faults"];
  readonly build?: BuildNode;
  /** How long a new node waits for places in views, and how long a dead one keeps them. */
  readonly joinAfterMs?: number;
  readonly repairAfterMs?: number;
  /** Chance, each second and slice, that a leader is told to change a view for no reason. */
  readonly restlessness?: number;
  /** A defect for mutation tests: disks that answer before a write is durable. */
  readonly lyingDisks?: boolean;
  /** A defect for mutation tests: a power loss can leave half a batch on the disk. */
  readonly tearingDisks?: boolean;
}

export type Identity = GenesisNode;

/** What belongs to one process on one machine. */
export interface SimProcess {
  readonly identity: Identity;
  readonly starts: number;
  readonly disk: MemoryDisk;
  readonly clock: Clock;
  readonly diskClock: Clock;
  readonly gate: ProcessGate;
  readonly observer: Observer;
  readonly log: Log;
  /** Members that a view is to have, whatever the ring says; undefined: what the ring says. */
  wantedView(present: readonly VoterId[], slice: Slice): readonly VoterId[] | undefined;
}

export const isOfGenesis = (genesis: Genesis, id: NodeId | undefined): boolean =>
  genesis.nodes.some((node) => node.id === id);

/** Opens the ports and composes a node, which does not run yet. */
export function buildSimNode(
  { network, genesis, options, seeds, chance }: Surroundings,
  { identity, starts, disk, clock, diskClock, gate, observer, log, wantedView }: SimProcess,
): { node: SimNode; ports: Ports } {
  const { id, peerAddress } = identity;
  const syncMs = options.syncMs ?? 0;
  const store = openMemoryStore(disk, diskClock, { syncMs });
  const ports: Ports = {
    clock,
    chance: chance.fork(`node ${id} life ${starts}`),
    store: options.lyingDisks === true ? lyingStore(store) : store,
    blocks: openMemoryBlocks(disk, diskClock, { syncMs }),
    transport: new GatedTransport(network.attach(peerAddress, id), gate, observer),
    digest: nodeDigest,
    log,
  };
  const config: NodeConfig = {
    genesis,
    ...identity,
    position: undefined,
    starts,
    routing: options.routing ?? "table",
    seeds: isOfGenesis(genesis, id) ? [] : seeds(),
    joinAfterMs: options.joinAfterMs,
    repairAfterMs: options.repairAfterMs,
    gatewaySecret: new Uint8Array(32),
    hopSecret: new Uint8Array(32),
  };
  const build: BuildNode = options.build ?? composeNode;
  return {
    node: build(config, ports, { faults: { ...options.faults, restlessViews: wantedView } }),
    ports,
  };
}
