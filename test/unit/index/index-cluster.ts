// A cluster of index modules alone, over virtual time and memory disks, with a static member table.
import { type CopiesSetting } from "../../../shared/copies.ts";
import { type Genesis } from "../../../shared/genesis.ts";
import {
  type BucketId,
  type FolderId,
  type NodeId,
  type RequestId,
  parseFolderId,
  parseNodeId,
  voterIdOf,
} from "../../../shared/ids.ts";
import { type Slice } from "../../../shared/slices.ts";
import { createIndex } from "../../../node/index/create-index.ts";
import { type IndexFaults } from "../../../node/index/faults.ts";
import {
  type Index,
  type RegisterAddress,
  type RepairStep,
  registerKey,
} from "../../../node/index/types.ts";
import { Peers } from "../../../node/peers.ts";
import { TransportError } from "../../../node/ports.ts";
import { silentLog } from "../../../node/runtime/json-log.ts";
import { MemoryDisk, openMemoryStore } from "../../../node/runtime/memory-store.ts";
import { MemoryNetwork, type Policy } from "../../../node/runtime/memory-network.ts";
import { nodeDigest } from "../../../node/runtime/node-digest.ts";
import { type Member, type MemberState, type Route } from "../../../node/route/types.ts";
import { SeededChance } from "../../sim/seeded-chance.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";

export const BUCKET = "00000000000000000000000000000abc" as BucketId;

export interface IndexNode {
  readonly id: NodeId;
  readonly folder: FolderId;
  readonly address: string;
  readonly disk: MemoryDisk;
  index: Index;
}

export class IndexCluster {
  readonly clock = new VirtualClock();
  readonly chance = new SeededChance(7);
  readonly network: MemoryNetwork;
  readonly genesis: Genesis;
  readonly nodes: IndexNode[] = [];
  /** Chains that the checker handed out for cleaning. */
  readonly garbage: RegisterAddress[] = [];
  repair: (step: RepairStep) => Promise<boolean> = async () => true;
  readonly #states = new Map<NodeId, MemberState>();
  /** What each node has heard of the number of copies; nobody tells the others. */
  readonly settings = new Map<NodeId, CopiesSetting>();
  readonly #faults: IndexFaults | undefined;
  #requests = 0;

  constructor(size: number, options: { policy?: Policy; faults?: IndexFaults } = {}) {
    this.network = new MemoryNetwork(
      this.clock,
      options.policy ?? (() => [1]),
      (_, name, error) => {
        throw new Error(`Call ${name} failed inside`, { cause: error });
      },
    );
    this.#faults = options.faults;
    const ids = Array.from({ length: size }, (_, i) =>
      parseNodeId(
        ((((i + 1) * 0xff) / (size + 1)) | 0).toString(16).padStart(2, "0").padEnd(32, "0"),
      ),
    );
    this.genesis = {
      format: 1,
      clusterId: "0".repeat(32),
      sliceBits: 4,
      copies: 3,
      createdMs: 0,
      nodes: ids.map((id, i) => ({
        id,
        folder: parseFolderId(String(i).padStart(16, "0")),
        url: "",
        peerAddress: `n${i}:1`,
        zone: "z",
      })),
    };
    for (const id of ids) this.#states.set(id, "alive");
    this.genesis.nodes.forEach(({ id, folder, peerAddress }) => {
      const disk = new MemoryDisk();
      const index = this.#build(id, folder, peerAddress, disk);
      this.nodes.push({ id, folder, address: peerAddress, disk, index });
    });
  }

  async start(): Promise<void> {
    for (const node of this.nodes) await node.index.start();
  }

  /** Power off: un-synced writes are lost; the others' table says dead when `known`. */
  crash(i: number, known = true): void {
    const node = this.nodes[i]!;
    node.disk.powerLoss();
    this.network.crash(node.address);
    if (known) this.#states.set(node.id, "dead");
  }

  async restart(i: number): Promise<void> {
    const node = this.nodes[i]!;
    this.#states.set(node.id, "alive");
    node.index = this.#build(node.id, node.folder, node.address, node.disk);
    await node.index.start();
  }

  /** Runs virtual time until the promise settles. */
  async wait<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    promise.then(done, done);
    await this.clock.run(() => settled, { deadlineMs: this.clock.now + 120_000 });
    return promise;
  }

  at(slice: number, name: string): RegisterAddress {
    return { slice: slice as Slice, key: registerKey("object", BUCKET, name) };
  }

  requestId(): RequestId {
    return (++this.#requests).toString(16).padStart(32, "0") as RequestId;
  }

  node(id: NodeId | undefined): IndexNode {
    return this.nodes.find((node) => node.id === id)!;
  }

  #build(id: NodeId, folder: FolderId, peerAddress: string, disk: MemoryDisk): Index {
    const peers = new Peers(this.network.attach(peerAddress, id));
    const member = (of: NodeId): Member => {
      const node = this.genesis.nodes.find((one) => one.id === of)!;
      return {
        ...node,
        position: undefined,
        capacityBytes: 0,
        freeBytes: 0,
        incarnation: 1,
        state: this.#states.get(of)!,
        sinceMs: 0,
      };
    };
    const all = (): Member[] => this.genesis.nodes.map((node) => member(node.id));
    const route: Route = {
      get self() {
        return member(id);
      },
      voter: voterIdOf(id, folder),
      members: all,
      live: () => all().filter((one) => one.state === "alive"),
      find: (of) => all().find((one) => one.id === of),
      peer: (of) => ({ address: member(of).peerAddress, id: of }),
      lookup: () => Promise.reject(new Error("unused")),
      desired: () => [],
      ring: () => ({ successors: [], predecessor: undefined }),
      arcShare: () => 0,
      aliveForMs: () => 0,
      deadForMs: () => 0,
      leave: async () => undefined,
      onChange: () => () => undefined,
      onRevived: () => () => undefined,
      announce: () => undefined,
      observed: () => undefined,
      copies: () => this.settings.get(id) ?? { version: 0, copies: this.genesis.copies },
      learnCopies: (setting) => void this.settings.set(id, setting),
      // Nobody serves the call here: to be refused is a sign of life as well.
      reaches: (of, timeoutMs) =>
        peers
          .call({ address: member(of).peerAddress, id: of }, "route.ping", {} as never, timeoutMs)
          .then(
            () => true,
            (error: unknown) => !(error instanceof TransportError),
          ),
      start: async () => undefined,
      stop: async () => undefined,
    };
    const index = createIndex({
      config: {
        genesis: this.genesis,
        id,
        folder,
        url: "",
        peerAddress,
        zone: "z",
        position: undefined,
        starts: 1,
        routing: "table",
        seeds: [],
        gatewaySecret: new Uint8Array(32),
        hopSecret: new Uint8Array(32),
      },
      clock: this.clock,
      chance: this.chance.fork(id),
      digest: nodeDigest,
      log: silentLog,
      store: openMemoryStore(disk, this.clock, { syncMs: 1 }),
      peers,
      route,
      faults: this.#faults,
      freeGarbage: async (at) => void this.garbage.push(at),
      repairBlock: (step) => this.repair(step),
    });
    this.#transports.set(peerAddress, peers);
    return index;
  }

  readonly #transports = new Map<string, Peers>();

  /** Starts answering calls; separate so that a test can hold a node back. */
  serve(): void {
    for (const node of this.nodes) {
      const peers = this.#transports.get(node.address)!;
      this.network.find(node.address)!.serve(peers.handlers());
    }
  }
}
