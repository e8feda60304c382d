// Builds a node from its ports: the three modules, the coordinator over them, and what this node answers to peers.
// No I/O here: the simulator builds its nodes with the same function.
import { type NodeStatus } from "../shared/protocol/node.ts";
import { parseRequestId, toHex } from "../shared/ids.ts";
import { type NodeConfig } from "./config.ts";
import { type Data } from "./data/types.ts";
import { type DataDeps, createData } from "./data/create-data.ts";
import { createIndex } from "./index/create-index.ts";
import { type IndexFaults } from "./index/faults.ts";
import { type Index } from "./index/types.ts";
import { createBlockOwners } from "./object/block-owners.ts";
import { type ObjectModule, createObjectService } from "./object/object-service.ts";
import { Peers } from "./peers.ts";
import { type Ports } from "./ports.ts";
import { createRoute } from "./route/route.ts";
import { type Route } from "./route/types.ts";

export interface RingstowNode {
  readonly route: Route;
  readonly index: Index;
  readonly data: Data;
  readonly object: ObjectModule;
  status(): Promise<NodeStatus>;
  start(): Promise<void>;
  /** Ends the node's work; the ports are the caller's to close afterwards. */
  stop(): Promise<void>;
}

export interface ComposeOptions {
  /** Test-only switches that break one rule of the protocol each. */
  readonly faults?: IndexFaults | undefined;
}

export function composeNode(
  config: NodeConfig,
  ports: Ports,
  options: ComposeOptions = {},
): RingstowNode {
  const { clock, chance, store, blocks, transport, digest, log } = ports;
  const peers = new Peers(transport);
  const route = createRoute({ config, clock, chance, store, peers, log });
  const index = createIndex({
    config,
    clock,
    chance,
    store,
    digest,
    log,
    peers,
    route,
    faults: options.faults,
    freeGarbage: (at) => object.freeGarbage(at),
    repairBlock: (step) => object.repairBlock(step),
  });
  const data = createData({
    config,
    clock,
    chance,
    store,
    blocks,
    digest,
    peers,
    route,
    log,
    report: reportingTo(index, log),
    owners: createBlockOwners({
      self: config.id,
      index,
      newRequestId: () => parseRequestId(toHex(chance.bytes(16))),
    }),
  });
  const object: ObjectModule = createObjectService({
    config,
    clock,
    chance,
    digest,
    index,
    data,
    route,
    log,
  });
  const status = statusOf(config, ports, { route, index, data });
  answerOperators(peers, { config, route, index, status });

  return {
    route,
    index,
    data,
    object,
    status,
    async start() {
      transport.serve(peers.handlers());
      await route.start();
      await index.start();
      await data.start();
    },
    async stop() {
      await object.stop();
      await data.stop();
      await index.stop();
      await route.stop();
    },
  };
}

/** Calls about the node as a whole, from commands of an operator and from new nodes. */
function answerOperators(
  peers: Peers,
  {
    config,
    route,
    index,
    status,
  }: { config: NodeConfig } & Pick<RingstowNode, "route" | "index" | "status">,
): void {
  peers.onCall("node.status", status);
  peers.onCall("node.leave", async () => {
    await route.leave();
    return {};
  });
  peers.onCall("node.copies", async ({ copies, requestId }) => ({
    setting: await index.setCopies(copies, requestId),
  }));
  peers.onCall("node.genesis", () => ({ genesis: config.genesis }));
}

/** Tells leaders of bad copies, behind the reader's back. One that is not heard is reported again by the next read. */
function reportingTo(index: Index, log: Ports["log"]): DataDeps["report"] {
  return (owner, block, node) => {
    index.report(owner, block, node).catch((error: unknown) => {
      log.info("A bad copy could not be reported", { block, node, reason: String(error) });
    });
  };
}

function statusOf(
  config: NodeConfig,
  { clock }: Ports,
  { route, index, data }: Pick<RingstowNode, "route" | "index" | "data">,
): () => Promise<NodeStatus> {
  const startedMs = clock.monotonicMs();
  return async () => {
    const [counts, usage] = await Promise.all([index.counts(), data.usage()]);
    return {
      id: config.id,
      zone: config.zone,
      url: config.url,
      peerAddress: config.peerAddress,
      incarnation: route.self.incarnation,
      upMs: Math.round(clock.monotonicMs() - startedMs),
      arcShare: route.arcShare(config.id),
      copies: route.copies(),
      ...usage,
      ...counts,
      members: route
        .members()
        .map(({ id, url, zone, state, sinceMs }) => ({ id, url, zone, state, sinceMs })),
    };
  };
}
