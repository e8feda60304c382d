// A cluster of route modules alone, over the memory network and virtual time.
import { toHex, type FolderId, type NodeId } from "../../../shared/ids.ts";
import { type Genesis, successorListLength } from "../../../shared/genesis.ts";
import { toRingId } from "../../../shared/ring.ts";
import { type Log } from "../../../node/ports.ts";
import { Peers } from "../../../node/peers.ts";
import { createRoute, type RouteModule } from "../../../node/route/route.ts";
import { MemoryDisk } from "../../../node/runtime/memory-store.ts";
import { type MessageKind, MemoryNetwork } from "../../../node/runtime/memory-network.ts";
import { openMemoryStore } from "../../../node/runtime/memory-store.ts";
import { checkRing, isIdeal } from "../../sim/ring-invariants.ts";
import { SeededChance } from "../../sim/seeded-chance.ts";
import { type ClockView, VirtualClock } from "../../sim/virtual-clock.ts";

export interface TestNode {
  readonly name: string;
  readonly id: NodeId;
  readonly folder: FolderId;
  readonly disk: MemoryDisk;
  /** How often it was built. */
  starts: number;
  route: RouteModule;
  peers: Peers;
  clock: ClockView;
  running: boolean;
}

export interface TestMessage {
  /** Names of the nodes. */
  readonly from: string;
  readonly to: string;
  readonly kind: MessageKind;
  /** Of the call. */
  readonly name: string;
}

export interface LoggedEvent {
  readonly node: string;
  readonly level: "info" | "warn" | "error";
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

export class RouteCluster {
  readonly clock = new VirtualClock();
  readonly nodes: TestNode[] = [];
  readonly events: LoggedEvent[] = [];
  readonly genesis: Genesis;
  readonly network: MemoryNetwork;
  readonly #chance: SeededChance;
  readonly #routing: "table" | "fingers";
  /** Pairs that cannot talk: "from>to". */
  readonly cut = new Set<string>();
  /** Share of messages that are lost. */
  loss = 0;
  /** Sees every message as it is sent; may give the delays of its copies. */
  onMessage: (message: TestMessage) => readonly number[] | undefined = () => undefined;

  constructor(size: number, options: { seed?: number; routing?: "table" | "fingers" } = {}) {
    this.#chance = new SeededChance(options.seed ?? 1);
    this.#routing = options.routing ?? "table";
    const delays = this.#chance.fork("network");
    this.network = new MemoryNetwork(this.clock, (from, to, kind, name) => {
      const directed = this.onMessage({ from, to, kind, name });
      if (directed) return directed;
      if (this.cut.has(`${from}>${to}`) || delays.fraction() < this.loss) return [];
      return [0.5 + delays.fraction()];
    });
    const step = (1n << 128n) / BigInt(size);
    const members = Array.from({ length: size }, (_, index) => ({
      id: toRingId(step * BigInt(index) + 12345n) as NodeId,
      folder: index.toString(16).padStart(16, "0") as FolderId,
      url: `https://n${index}.test`,
      peerAddress: `n${index}`,
      zone: `zone-${index % 3}`,
    }));
    this.genesis = {
      format: 1,
      clusterId: "0".repeat(32),
      sliceBits: 6,
      copies: 3,
      createdMs: 0,
      nodes: members,
    };
    for (const { peerAddress, id, folder } of members) this.add(peerAddress, id, folder);
  }

  get r(): number {
    return successorListLength(this.genesis.nodes.length);
  }

  get running(): TestNode[] {
    return this.nodes.filter((node) => node.running);
  }

  node(index: number): TestNode {
    return this.nodes[index]!;
  }

  /** Makes a node; it does not run yet. */
  add(name: string, id: NodeId, folder: FolderId, seeds: readonly string[] = []): TestNode {
    const disk = new MemoryDisk();
    const node = { name, id, folder, disk, starts: 0, running: false } as TestNode;
    this.nodes.push(node);
    this.#build(node, seeds);
    return node;
  }

  /** Starts a node; time does not pass by itself. */
  begin(node: TestNode): Promise<void> {
    node.running = true;
    return node.route.start();
  }

  async start(...nodes: TestNode[]): Promise<void> {
    await this.clock.settle(Promise.all(nodes.map((node) => this.begin(node))));
  }

  /** Power off. */
  crash(node: TestNode): void {
    node.running = false;
    node.clock.kill();
    node.disk.powerLoss();
    this.network.crash(node.name);
  }

  /** The same data folder in its next life; it does not run yet. */
  renew(node: TestNode): void {
    this.#build(node, []);
  }

  /** The same data folder again, in its next life. */
  async restart(node: TestNode): Promise<void> {
    this.renew(node);
    await this.start(node);
  }

  /** Cuts all links between two groups, or restores all with heal(). */
  partition(left: readonly TestNode[], right: readonly TestNode[]): void {
    for (const a of left) {
      for (const b of right) {
        this.cut.add(`${a.name}>${b.name}`);
        this.cut.add(`${b.name}>${a.name}`);
      }
    }
  }

  heal(): void {
    this.cut.clear();
  }

  /** Runs until something holds, at most `withinMs`; answers how long it took in virtual ms. */
  async until(condition: () => boolean, withinMs: number): Promise<number> {
    const start = this.clock.now;
    await this.clock.run(condition, { deadlineMs: start + withinMs });
    return this.clock.now - start;
  }

  /** Whether all running nodes hold the same table, with `live` live members. */
  tablesAgree(live: number): boolean {
    const views = this.running.map((node) =>
      node.route
        .members()
        .map((row) => `${row.id} ${row.incarnation} ${row.state} ${row.freeBytes}`)
        .join("\n"),
    );
    const lives = this.running.every((node) => node.route.live().length === live);
    return lives && new Set(views).size === 1;
  }

  states() {
    return this.running.flatMap((node) => node.route.ringState() ?? []);
  }

  ringIsIdeal(): boolean {
    const states = this.states();
    return states.length === this.running.length && isIdeal(states, this.r);
  }

  ringFaults(): string[] {
    return checkRing(this.states(), this.r);
  }

  /** What `observer` thinks of `node`. */
  stateOf(node: TestNode, observer: TestNode): string | undefined {
    return observer.route.find(node.id)?.state;
  }

  faults(): LoggedEvent[] {
    return this.events.filter((each) => each.level === "error");
  }

  #build(node: TestNode, seeds: readonly string[]): void {
    node.starts++;
    node.clock = this.clock.view();
    const chance = this.#chance.fork(`${node.name}/${node.starts}`);
    const transport = this.network.attach(node.name, node.id);
    node.peers = new Peers(transport);
    const record =
      (level: LoggedEvent["level"]) =>
      (event: string, fields?: Readonly<Record<string, unknown>>) =>
        void this.events.push({ node: node.name, level, event, fields });
    const log: Log = { info: record("info"), warn: record("warn"), error: record("error") };
    const known = this.genesis.nodes.find((each) => each.id === node.id);
    node.route = createRoute({
      config: {
        genesis: this.genesis,
        id: node.id,
        folder: node.folder,
        url: `https://${node.name}.test`,
        peerAddress: node.name,
        zone: known?.zone ?? "zone-x",
        position: undefined,
        starts: node.starts,
        routing: this.#routing,
        seeds,
        gatewaySecret: new Uint8Array(32),
        hopSecret: new Uint8Array(32),
      },
      clock: node.clock,
      chance,
      store: openMemoryStore(node.disk, node.clock, { syncMs: 1 }),
      peers: node.peers,
      log,
    });
    transport.serve(node.peers.handlers());
  }
}

/** Random id from seeded chance. */
export function randomId(chance: SeededChance): NodeId {
  return toHex(chance.bytes(16)) as NodeId;
}
