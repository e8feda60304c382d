// A cluster of data modules alone, over virtual time, memory disks and a static member table, with the faults that
// the tests need: crash, pause, refusing disks, damaged pieces, held seals.
import { createData } from "../../../node/data/create-data.ts";
import { type Data } from "../../../node/data/types.ts";
import { type RegisterAddress, registerKey } from "../../../node/index/types.ts";
import { Peers } from "../../../node/peers.ts";
import {
  type BlockFiles,
  type PeerHandlers,
  type PeerStream,
  type Store,
  type Transport,
} from "../../../node/ports.ts";
import { type Member, type MemberState, type Route } from "../../../node/route/types.ts";
import { silentLog } from "../../../node/runtime/json-log.ts";
import { openMemoryBlocks } from "../../../node/runtime/memory-blocks.ts";
import { MemoryNetwork, type Policy } from "../../../node/runtime/memory-network.ts";
import { MemoryDisk, openMemoryStore } from "../../../node/runtime/memory-store.ts";
import { nodeDigest } from "../../../node/runtime/node-digest.ts";
import { RingstowError } from "../../../shared/errors.ts";
import {
  type BlockId,
  type BucketId,
  type FolderId,
  type NodeId,
  parseNodeId,
  voterIdOf,
} from "../../../shared/ids.ts";
import { type Slice } from "../../../shared/slices.ts";
import { ProcessGate } from "../../sim/process-gate.ts";
import { SeededChance } from "../../sim/seeded-chance.ts";
import { type ClockView, VirtualClock } from "../../sim/virtual-clock.ts";

const BUCKET = "00000000000000000000000000000abc" as BucketId;
export const OWNER: RegisterAddress = {
  slice: 3 as Slice,
  key: registerKey("object", BUCKET, "photos/1.jpg"),
};

/** Faults of one node's disk. */
export interface DiskFaults {
  /** Creating a block fails with DiskFull. */
  full: boolean;
  /** Writing to a block fails once this many bytes were written to it. */
  failsAtByte: number | undefined;
  /** Reading fails as Corrupt at this byte. */
  corruptAtByte: number | undefined;
  /** Reading ends well, and too early, at this byte. */
  endsAtByte: number | undefined;
  /** Sealing waits for this. */
  sealHeld: Promise<void> | undefined;
}

export class DataNode {
  readonly id: NodeId;
  readonly folder: FolderId;
  readonly address: string;
  readonly zone: string;
  readonly disk = new MemoryDisk();
  readonly faults: DiskFaults = {
    full: false,
    failsAtByte: undefined,
    corruptAtByte: undefined,
    endsAtByte: undefined,
    sealHeld: undefined,
  };
  state: MemberState = "alive";
  free = { capacityBytes: 0, freeBytes: 0 };
  gate = new ProcessGate();
  /** Streams and calls served, by name. */
  readonly served: string[] = [];
  /** Streams being served now. */
  serving = 0;
  /** Chunks of "data.write" received. */
  readonly chunkSizes: number[] = [];
  clock!: ClockView;
  store!: Store;
  blocks!: BlockFiles;
  data!: Data;

  constructor(id: NodeId, number: number, zone: string) {
    this.id = id;
    this.folder = String(number).padStart(16, "0") as FolderId;
    this.address = `n${number}:1`;
    this.zone = zone;
  }

  /** Keys of the records of staged blocks. */
  async rows(): Promise<string[]> {
    const rows = await this.store.range({ from: "d/", to: "d0", limit: 1000 });
    return rows.map((row) => row.key);
  }
}

export class DataCluster {
  readonly clock = new VirtualClock();
  readonly chance = new SeededChance(11);
  readonly network: MemoryNetwork;
  readonly nodes: DataNode[];
  readonly observed: { node: NodeId; reachable: boolean }[] = [];
  /** Faults inside handlers that were no expected errors. */
  readonly handlerFaults: unknown[] = [];
  /** What owners answer, and which blocks they were asked about. */
  disown: (owner: RegisterAddress, block: BlockId) => Promise<"referenced" | "disowned"> = () =>
    Promise.resolve("disowned");
  /** Whether the register lists a node's copy as a replaced one. */
  isFormer: (node: DataNode, block: BlockId) => Promise<boolean> = () => Promise.resolve(false);
  /** Bad copies that readers told of. */
  readonly reported: { block: BlockId; node: NodeId }[] = [];
  /** Copies that every node has heard are wanted. */
  copies: number;

  constructor(
    size: number,
    options: { policy?: Policy; zones?: readonly string[]; copies?: number } = {},
  ) {
    this.copies = options.copies ?? 3;
    this.network = new MemoryNetwork(
      this.clock,
      options.policy ?? (() => [1]),
      (_address, _name, error) => this.handlerFaults.push(error),
    );
    this.nodes = Array.from({ length: size }, (_, i) => {
      const id = parseNodeId((i + 1).toString(16).padEnd(32, "0"));
      return new DataNode(id, i, options.zones?.[i] ?? "z");
    });
    for (const node of this.nodes) this.build(node);
  }

  /** Makes the process of a node on its disk. */
  build(node: DataNode): void {
    node.clock = this.clock.view();
    node.gate = new ProcessGate();
    node.store = openMemoryStore(node.disk, node.clock, { syncMs: 2 });
    node.blocks = withFaults(openMemoryBlocks(node.disk, node.clock, { syncMs: 5 }), node.faults);
    const transport = gated(this.network.attach(node.address, node.id), node);
    const peers = new Peers(transport);
    node.data = createData({
      config: {
        genesis: {
          format: 1,
          clusterId: "0".repeat(32),
          sliceBits: 4,
          copies: 3,
          createdMs: 0,
          nodes: [],
        },
        id: node.id,
        folder: node.folder,
        url: "",
        peerAddress: node.address,
        zone: node.zone,
        position: undefined,
        starts: 1,
        routing: "table",
        seeds: [],
        gatewaySecret: new Uint8Array(32),
        hopSecret: new Uint8Array(32),
      },
      clock: node.clock,
      chance: this.chance.fork(node.address),
      store: node.store,
      blocks: node.blocks,
      digest: nodeDigest,
      peers,
      route: this.#routeOf(node),
      owners: {
        disown: (owner, block) => this.disown(owner, block),
        isFormer: (_owner, block) => this.isFormer(node, block),
      },
      report: (_owner, block, at) => void this.reported.push({ block, node: at }),
      log: silentLog,
    });
    transport.serve(peers.handlers());
  }

  async start(): Promise<void> {
    await this.clock.settle(Promise.all(this.nodes.map((node) => node.data.start())));
  }

  node(id: NodeId): DataNode {
    return this.nodes.find((node) => node.id === id)!;
  }

  /** The process dies and the power goes; the member table does not know it yet. */
  crash(node: DataNode): void {
    this.network.crash(node.address);
    node.clock.kill();
    node.gate.kill();
    node.disk.powerLoss();
  }

  /** A crashed node comes back on its disk. */
  async restart(node: DataNode): Promise<void> {
    this.build(node);
    await this.clock.settle(node.data.start());
  }

  /** Nodes that hold the sealed block, in the order of the nodes. */
  async holders(block: BlockId): Promise<NodeId[]> {
    const found: NodeId[] = [];
    for (const node of this.nodes) if (await this.#holds(node, block)) found.push(node.id);
    return found;
  }

  async #holds(node: DataNode, block: BlockId): Promise<boolean> {
    try {
      return (await node.blocks.stat(block)) !== undefined;
    } catch {
      return false; // its power is off
    }
  }

  #routeOf(self: DataNode): Route {
    const memberOf = (node: DataNode): Member => ({
      id: node.id,
      folder: node.folder,
      url: "",
      peerAddress: node.address,
      zone: node.zone,
      position: undefined,
      ...node.free,
      incarnation: 1,
      state: node.state,
      sinceMs: 0,
    });
    const unused = (): never => {
      throw new Error("Not part of this test");
    };
    const members = (): Member[] => this.nodes.map(memberOf);
    return {
      self: memberOf(self),
      voter: voterIdOf(self.id, self.folder),
      members,
      live: () => members().filter(({ state }) => state === "alive" || state === "suspect"),
      find: (id) => members().find((member) => member.id === id),
      peer: (id) => {
        const node = this.nodes.find((other) => other.id === id);
        return node && { address: node.address, id };
      },
      lookup: unused,
      desired: unused,
      ring: unused,
      arcShare: unused,
      aliveForMs: unused,
      deadForMs: unused,
      leave: unused,
      onChange: unused,
      onRevived: unused,
      announce: (free) => {
        self.free = free;
      },
      observed: (node, reachable) => {
        this.observed.push({ node, reachable });
      },
      copies: () => ({ version: 1, copies: this.copies }),
      learnCopies: unused,
      reaches: unused,
      start: unused,
      stop: unused,
    };
  }
}

function withFaults(inner: BlockFiles, faults: DiskFaults): BlockFiles {
  return {
    ...inner,
    stat: (id) => inner.stat(id),
    delete: (id) => inner.delete(id),
    usage: () => inner.usage(),
    close: () => inner.close(),
    createDraft: async (id) => {
      if (faults.full) throw new RingstowError("DiskFull");
      return inner.createDraft(id);
    },
    link: async (from, to) => {
      if (faults.full) throw new RingstowError("DiskFull");
      return inner.link(from, to);
    },
    create: async (id) => {
      if (faults.full) throw new RingstowError("DiskFull");
      const writer = await inner.create(id);
      let written = 0;
      return {
        write: async (chunk) => {
          written += chunk.length;
          if (faults.failsAtByte !== undefined && written > faults.failsAtByte)
            throw new RingstowError("DiskFull");
          await writer.write(chunk);
        },
        seal: async () => {
          await faults.sealHeld;
          return writer.seal();
        },
        abort: () => writer.abort(),
      };
    },
    async *read(id, from, to) {
      let at = from;
      for await (const chunk of inner.read(id, from, to)) {
        at += chunk.length;
        if (faults.corruptAtByte !== undefined && at > faults.corruptAtByte)
          throw new RingstowError("Corrupt");
        if (faults.endsAtByte !== undefined && at > faults.endsAtByte) return;
        yield chunk;
      }
    },
  };
}

/** Holds back what comes in while the node is paused: as a stopped process, its connections stay open. */
function gated(inner: Transport, node: DataNode): Transport {
  const pass = (): Promise<void> => node.gate.pass();
  const wrap = (stream: PeerStream, name: string): PeerStream => ({
    send: async (chunk) => {
      await stream.send(chunk);
      await pass();
    },
    receive: async () => {
      const chunk = await stream.receive();
      if (chunk && name === "data.write") node.chunkSizes.push(chunk.length);
      await pass();
      return chunk;
    },
    end: () => stream.end(),
    reset: (reason) => stream.reset(reason),
  });
  return {
    call: (peer, name, request, timeoutMs) => inner.call(peer, name, request, timeoutMs),
    open: async (peer, name, header, timeoutMs) =>
      wrap(await inner.open(peer, name, header, timeoutMs), `to ${name}`),
    serve: (handlers: PeerHandlers) =>
      inner.serve({
        call: async (name, request, caller) => {
          await pass();
          node.served.push(name);
          return handlers.call(name, request, caller);
        },
        stream: async (name, header, stream, caller) => {
          await pass();
          node.served.push(name);
          node.serving++;
          try {
            await handlers.stream(name, header, wrap(stream, name), caller);
          } finally {
            node.serving--;
          }
        },
      }),
    close: () => inner.close(),
  };
}

/** Bytes that differ everywhere: a piece out of place shows. */
export function someBytes(size: number, seed = 1): Uint8Array {
  return new SeededChance(seed).bytes(size);
}

export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The chunks of some bytes as a socket would deliver them. */
export function* chunksOf(bytes: Uint8Array, size = 64 * 1024): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
