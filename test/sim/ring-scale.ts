// Rings of thousands of real route modules in one process, and what is measured on them. All modules begin with one
// member table, whose parts they share until they change; messages are packed and counted by the real encoder.
import { type Genesis, successorListLength } from "../../shared/genesis.ts";
import { type FolderId, type NodeId, toHex } from "../../shared/ids.ts";
import { toRingId, toBigInt } from "../../shared/ring.ts";
import { Peers } from "../../node/peers.ts";
import { type Log } from "../../node/ports.ts";
import { firstIncarnation } from "../../node/route/member-table.ts";
import { createRoute, type RouteModule } from "../../node/route/route.ts";
import { type MemberRow, partsOf, type TablePart } from "../../node/route/table-part.ts";
import { MemoryDisk, openMemoryStore } from "../../node/runtime/memory-store.ts";
import { RingNetwork } from "./ring-network.ts";
import { RingTraffic } from "./ring-traffic.ts";
import { SeededChance } from "./seeded-chance.ts";
import { type ClockView, SIM_EPOCH_MS, VirtualClock } from "./virtual-clock.ts";

/** Enough nodes of genesis for the longest successor lists, r = 16. */
const genesisNodes = 51;
const capacityBytes = 4_000_000_000_000;
const freeBytes = 2_345_678_901_234;
/** More than ever are down at once. */
const seedsMax = 20;
const eventsMax = 1_000_000_000;

export interface ScaleOptions {
  readonly nodes: number;
  readonly seed: number;
  readonly routing?: "table" | "fingers";
}

export interface ScaleNode {
  readonly number: number;
  readonly id: NodeId;
  readonly address: string;
  starts: number;
  route: RouteModule;
  clock: ClockView;
  running: boolean;
}

export class ScaleRing {
  readonly clock = new VirtualClock();
  readonly traffic = new RingTraffic();
  readonly nodes: ScaleNode[] = [];
  readonly chance: SeededChance;
  /** Errors that a module logged: there must be none. */
  readonly faults: unknown[] = [];
  readonly #network: RingNetwork;
  readonly #genesis: Genesis;
  /** What those know that are there from the start; a joiner has to be told. */
  #known: readonly TablePart[] | undefined;
  readonly #routing: "table" | "fingers";

  constructor({ nodes, seed, routing }: ScaleOptions) {
    this.chance = new SeededChance(seed);
    this.#routing = routing ?? "table";
    const delays = this.chance.fork("network");
    this.#network = new RingNetwork(this.clock, () => 0.5 + delays.fraction());
    this.#network.onFrame = this.traffic.count;
    const rows = Array.from({ length: nodes }, (_, number) =>
      rowOf(number, toHex(this.chance.bytes(16)) as NodeId),
    );
    this.#known = partsOf(rows);
    this.#genesis = genesisOf(rows.slice(0, genesisNodes));
    for (const row of rows) this.#add(row.id);
    this.#known = undefined;
  }

  get r(): number {
    return successorListLength(this.#genesis.nodes.length);
  }

  get running(): ScaleNode[] {
    return this.nodes.filter((node) => node.running);
  }

  /** Starts all nodes as if they had been up for long, and runs until the start's own traffic is over. */
  async start(): Promise<void> {
    await this.clock.settle(Promise.all(this.nodes.map((node) => this.#start(node))), {
      maxEvents: eventsMax,
    });
    await this.runFor(25_000);
  }

  runFor(durationMs: number): Promise<void> {
    return this.clock.runFor(durationMs, { maxEvents: eventsMax });
  }

  crash(node: ScaleNode): void {
    node.running = false;
    node.clock.kill();
    this.#network.detach(node.address);
  }

  /** A node whose id halves the arc of another, at random; it has started when this resolves. */
  async join(): Promise<ScaleNode> {
    const next = this.chance.pick(this.running);
    const before = next.route.ring().predecessor!;
    const from = toBigInt(before);
    const gap = (toBigInt(next.id) - from + (1n << 128n)) % (1n << 128n);
    const node = this.#add(toRingId(from + gap / 2n) as NodeId);
    await this.clock.settle(this.#start(node), { maxEvents: eventsMax });
    return node;
  }

  /** The running node that is responsible for a point. */
  ownerOf(point: string): NodeId {
    let owner: NodeId | undefined;
    let least: NodeId | undefined;
    for (const { id, running } of this.nodes) {
      if (!running) continue;
      if (id >= point && (owner === undefined || id < owner)) owner = id;
      if (least === undefined || id < least) least = id;
    }
    return (owner ?? least)!;
  }

  randomPoint(): NodeId {
    return toHex(this.chance.bytes(16)) as NodeId;
  }

  #add(id: NodeId): ScaleNode {
    const number = this.nodes.length;
    const node = { number, id, address: addressOf(number), starts: 0, running: false };
    this.nodes.push(node as ScaleNode);
    this.#build(node as ScaleNode);
    return node as ScaleNode;
  }

  #start(node: ScaleNode): Promise<void> {
    node.running = true;
    return node.route.start();
  }

  #build(node: ScaleNode): void {
    const { number, id, address } = node;
    node.starts++;
    node.clock = this.clock.view();
    const transport = this.#network.attach(address, id);
    const peers = new Peers(transport);
    const log: Log = {
      info: () => {},
      warn: () => {},
      error: (event, fields) => this.faults.push({ number, event, fields }),
    };
    const row = rowOf(number, id);
    node.route = createRoute({
      config: {
        ...row,
        genesis: this.#genesis,
        starts: node.starts,
        routing: this.#routing,
        seeds: this.nodes.slice(0, seedsMax).map((each) => each.address),
        gatewaySecret: new Uint8Array(32),
        hopSecret: new Uint8Array(32),
      },
      clock: node.clock,
      chance: this.chance.fork(`${address}/${node.starts}`),
      store: openMemoryStore(new MemoryDisk(), node.clock, { syncMs: 1 }),
      peers,
      log,
      known: this.#known,
    });
    node.route.announce({ capacityBytes, freeBytes });
    transport.serve(peers.handlers());
  }
}

function addressOf(number: number): string {
  return `10.20.${number >> 8}.${number & 255}:9001`;
}

/** What a node says of itself in its first incarnation. */
function rowOf(number: number, id: NodeId): MemberRow {
  const peerAddress = addressOf(number);
  return {
    id,
    folder: number.toString(16).padStart(16, "0") as FolderId,
    url: `https://${peerAddress.replace(/1$/u, "0")}`,
    peerAddress,
    zone: `zone-${number % 3}`,
    position: undefined,
    capacityBytes,
    freeBytes,
    incarnation: firstIncarnation(1),
    state: "alive",
    sinceMs: SIM_EPOCH_MS,
    stamp: 1,
  };
}

function genesisOf(rows: readonly MemberRow[]): Genesis {
  const nodes = rows.map(({ id, folder, url, peerAddress, zone }) => ({
    id,
    folder,
    url,
    peerAddress,
    zone,
  }));
  return {
    format: 1,
    clusterId: "0".repeat(32),
    sliceBits: 16,
    copies: 3,
    createdMs: SIM_EPOCH_MS,
    nodes: nodes.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
  };
}
