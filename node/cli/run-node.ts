// `ringstow node`: one node of a cluster on a data folder, its adapters opened in the order in which they depend on
// each other and closed in the opposite one.
import { join } from "node:path";
import { RingstowError } from "../../shared/errors.ts";
import { type Genesis } from "../../shared/genesis.ts";
import { reserveBytesDefault } from "../../shared/limits.ts";
import { type Position } from "../../shared/nearest.ts";
import { PROTOCOL_VERSION } from "../../shared/protocol.ts";
import { type ClusterSecrets, deriveSecrets } from "../../shared/peer-auth.ts";
import { type RingstowNode, composeNode } from "../compose.ts";
import { type NodeConfig } from "../config.ts";
import { createNodeApp } from "../http.ts";
import { type Log, type Store } from "../ports.ts";
import { openDiskBlocks } from "../runtime/disk-blocks.ts";
import { startHttpServer } from "../runtime/http-server.ts";
import { type LogLevel, jsonLog } from "../runtime/json-log.ts";
import { openLevelStore } from "../runtime/level-store.ts";
import { nodeDigest } from "../runtime/node-digest.ts";
import { openPeerLink } from "../runtime/peer-link.ts";
import { systemChance } from "../runtime/system-chance.ts";
import { systemClock } from "../runtime/system-clock.ts";
import { CliError, advise } from "./cli-error.ts";
import {
  type NodeFile,
  readGenesis,
  readNodeFile,
  readSecret,
  writeNodeFile,
} from "./cluster-files.ts";
import { joinCluster } from "./join.ts";
import { runGateway } from "./run-gateway.ts";

export interface NodeOptions {
  readonly data: string;
  /** Address that the servers bind; the advertised ones come from the genesis file or the options. */
  readonly host?: string | undefined;
  /** Own address to call peers from; undefined: the system chooses. */
  readonly from?: string | undefined;
  readonly url?: string | undefined;
  readonly peerAddress?: string | undefined;
  readonly zone?: string | undefined;
  readonly position?: Position | undefined;
  readonly routing: "table" | "fingers";
  /** Peer address of a node of the cluster: a folder that is no node's yet becomes one. */
  readonly join?: string | undefined;
  /** How long a new node is alive before it gets places in views, and how long a dead one keeps them, ms. */
  readonly joinAfterMs?: number | undefined;
  readonly repairAfterMs?: number | undefined;
  /** Between two slices whose places move though nobody is in need, ms. */
  readonly movePauseMs?: number | undefined;
  readonly reserveBytes?: number | undefined;
  readonly logLevel: LogLevel;
  /** Port of a gateway inside this process. */
  readonly gatewayPort?: number | undefined;
  /** S3 region of that gateway's clients. */
  readonly region: string;
  readonly trustProxy: boolean;
}

export interface RunningNode {
  readonly node: RingstowNode;
  readonly url: string;
  readonly gatewayUrl: string | undefined;
  stop(): Promise<void>;
}

const DAMAGED_ADVICE =
  "Leave this node out, and let a new one join: an older copy of the folder would contradict what it has promised.";
const IN_USE_ADVICE =
  'If this node runs already (by "npm start", or started by hand), stop it first.';
const PORT_ADVICE =
  "Stop that process, or start the node with other addresses (--url, --peer) that it can listen on.";

/** Opened parts and how to close them again, the last one first. */
class Stops {
  readonly #all: (() => Promise<void>)[] = [];

  add<T>(part: T, stop: (part: T) => Promise<void>): T {
    this.#all.push(() => stop(part));
    return part;
  }

  async run(): Promise<void> {
    for (let end = this.#all.pop(); end; end = this.#all.pop()) await end();
  }
}

export async function runNode(options: NodeOptions): Promise<RunningNode> {
  const stops = new Stops();
  try {
    return await openNode(options, stops);
  } catch (error) {
    await stops.run();
    throw error;
  }
}

async function openNode(options: NodeOptions, stops: Stops): Promise<RunningNode> {
  const { data, join: seed } = options;
  if (seed !== undefined) await joinCluster({ ...options, seed });
  // The genesis file first: where it is missing, so is everything else.
  const genesis = await readGenesis(data);
  const secrets = deriveSecrets(await readSecret(data));
  const { config, listenPort, listenHost, file } = await readConfig(options, genesis, secrets);
  const log = jsonLog(options.logLevel, { node: file.id.slice(0, 8) });
  const store = stops.add(
    await openLevelStore(join(data, "registers")).catch((error: unknown) => {
      const damaged = error instanceof RingstowError && error.code === "Corrupt";
      return advise(damaged ? DAMAGED_ADVICE : IN_USE_ADVICE)(error);
    }),
    (one) => one.close(),
  );
  const { incarnation: starts } = await claimFolder(data, file, store);
  const reserveBytes = options.reserveBytes ?? reserveBytesDefault;
  const blocks = stops.add(
    await openDiskBlocks({
      folder: join(data, "blocks"),
      reserveBytes,
      digest: nodeDigest,
    }).catch(advise("Make it a folder that this user can write.")),
    (one) => one.close(),
  );
  const transport = stops.add(
    await openPeerLink({
      listen: { host: listenHost, port: listenPort },
      advertise: config.peerAddress,
      from: options.from,
      id: file.id,
      secret: secrets.peer,
      protocolVersion: PROTOCOL_VERSION,
      log,
    }).catch(advise(PORT_ADVICE)),
    (one) => one.close(),
  );
  const ports = {
    clock: systemClock,
    chance: systemChance,
    store,
    blocks,
    transport,
    digest: nodeDigest,
    log,
  };
  const node = composeNode({ ...config, starts }, ports);
  stops.add(node, (one) => one.stop());
  await node.start();
  const app = appOf(node, config, log);
  const at = new URL(config.url);
  const host = options.host ?? at.hostname;
  stops.add(
    await startHttpServer({ app, host, port: Number(at.port), log }).catch(advise(PORT_ADVICE)),
    (one) => one.close(),
  );
  const gatewayUrl = await openGateway(options, { host, secrets, nodes: node.object }, stops);
  return { node, url: config.url, gatewayUrl, stop: () => stops.run() };
}

function appOf(node: RingstowNode, config: NodeConfig, log: Log): ReturnType<typeof createNodeApp> {
  const { gatewaySecret, hopSecret, genesis } = config;
  const shared = { route: node.route, clock: systemClock, sliceBits: genesis.sliceBits };
  return createNodeApp({
    ...shared,
    object: node.object,
    status: () => node.status(),
    digests: () => node.index.digests(),
    gatewaySecret,
    direct: { ...shared, index: node.index, data: node.data, hopSecret },
    log,
  });
}

/** The gateway inside this process, if one is wanted; its URL. */
async function openGateway(
  { gatewayPort, region, trustProxy }: NodeOptions,
  around: { host: string; secrets: ClusterSecrets; nodes: RingstowNode["object"] },
  stops: Stops,
): Promise<string | undefined> {
  if (gatewayPort === undefined) return undefined;
  const gateway = await runGateway({ ...around, port: gatewayPort, region, trustProxy });
  return stops.add(gateway, (one) => one.stop()).url;
}

async function readConfig(
  options: NodeOptions,
  genesis: Genesis,
  secrets: ClusterSecrets,
): Promise<{ config: NodeConfig; file: NodeFile; listenHost: string; listenPort: number }> {
  const file = await readNodeFile(options.data);
  const own = genesis.nodes.find((node) => node.id === file.id) ?? file;
  const url = options.url ?? own.url;
  const peerAddress = options.peerAddress ?? own.peerAddress;
  if (url === undefined || peerAddress === undefined) {
    throw new CliError("Cannot start: this node is not in the genesis file; give --url and --peer");
  }
  const [peerHost, listenPort] = splitAddress(peerAddress);
  const config: NodeConfig = {
    genesis,
    id: file.id,
    folder: file.folder,
    url,
    peerAddress,
    zone: options.zone ?? own.zone ?? "default",
    position: options.position,
    starts: file.incarnation,
    routing: options.routing,
    joinAfterMs: options.joinAfterMs,
    repairAfterMs: options.repairAfterMs,
    movePauseMs: options.movePauseMs,
    seeds: [
      ...(options.join ? [options.join] : []),
      ...genesis.nodes.map((one) => one.peerAddress),
    ],
    gatewaySecret: secrets.gateway,
    hopSecret: secrets.hop,
  };
  return { config, file, listenHost: options.host ?? peerHost, listenPort };
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Proves that the registers are this folder's own, and counts the start. A wiped store may not vote again. */
async function claimFolder(data: string, file: NodeFile, store: Store): Promise<NodeFile> {
  const row = store.get("f/folder");
  const owner = row && decoder.decode(row);
  if (file.started && owner !== file.folder) {
    throw new CliError(
      `Cannot start: the registers in ${data} are ${owner === undefined ? "gone" : "those of another node"}. ` +
        "A node that lost its registers must not vote as before: let a new node join instead (--join).",
    );
  }
  if (owner !== file.folder) {
    await store.write([{ key: "f/folder", value: encoder.encode(file.folder) }]);
  }
  const started = { ...file, incarnation: file.incarnation + 1, started: true };
  await writeNodeFile(data, started);
  return started;
}

function splitAddress(address: string): [string, number] {
  const colon = address.lastIndexOf(":");
  const port = Number(address.slice(colon + 1));
  if (colon < 1 || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new CliError(`Cannot use "${address}": it must be host:port`);
  }
  return [address.slice(0, colon).replace(/^\[|\]$/gu, ""), port];
}
