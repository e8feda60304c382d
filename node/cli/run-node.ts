// `ringstow node`: one node of a cluster on a data folder, its adapters opened in the order in which they depend on
// each other and closed in the opposite one.
import { join } from "node:path";
import { reserveBytesDefault } from "../../shared/limits.ts";
import { type Position } from "../../shared/nearest.ts";
import { PROTOCOL_VERSION } from "../../shared/protocol.ts";
import { deriveSecrets } from "../../shared/peer-auth.ts";
import { type RingstowNode, composeNode } from "../compose.ts";
import { createNodeApp } from "../http.ts";
import { type Store } from "../ports.ts";
import { openDiskBlocks } from "../runtime/disk-blocks.ts";
import { startHttpServer } from "../runtime/http-server.ts";
import { type LogLevel, jsonLog } from "../runtime/json-log.ts";
import { openLevelStore } from "../runtime/level-store.ts";
import { nodeDigest } from "../runtime/node-digest.ts";
import { openPeerLink } from "../runtime/peer-link.ts";
import { systemChance } from "../runtime/system-chance.ts";
import { systemClock } from "../runtime/system-clock.ts";
import { CliError } from "./cli-error.ts";
import {
  type NodeFile,
  readCredentials,
  readGenesis,
  readNodeFile,
  readSecret,
  writeNodeFile,
} from "./cluster-files.ts";
import { runGateway } from "./run-gateway.ts";

export interface NodeOptions {
  readonly data: string;
  /** Address that the servers bind; the advertised ones come from the genesis file or the options. */
  readonly host?: string | undefined;
  readonly url?: string | undefined;
  readonly peerAddress?: string | undefined;
  readonly zone?: string | undefined;
  readonly position?: Position | undefined;
  readonly routing: "table" | "fingers";
  readonly reserveBytes?: number | undefined;
  readonly logLevel: LogLevel;
  /** Port of a gateway inside this process. */
  readonly gatewayPort?: number | undefined;
  readonly trustProxy: boolean;
}

export interface RunningNode {
  readonly node: RingstowNode;
  readonly url: string;
  readonly gatewayUrl: string | undefined;
  stop(): Promise<void>;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export async function runNode(options: NodeOptions): Promise<RunningNode> {
  const { data } = options;
  const genesis = await readGenesis(data);
  const secrets = deriveSecrets(await readSecret(data));
  const file = await readNodeFile(data);
  const own = genesis.nodes.find((node) => node.id === file.id);
  const url = options.url ?? own?.url;
  const peerAddress = options.peerAddress ?? own?.peerAddress;
  if (url === undefined || peerAddress === undefined) {
    throw new CliError("Cannot start: this node is not in the genesis file; give --url and --peer");
  }
  const log = jsonLog(options.logLevel, { node: file.id.slice(0, 8) });
  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (let end = stops.pop(); end; end = stops.pop()) await end();
  };
  try {
    const store = await openLevelStore(join(data, "registers"));
    stops.push(() => store.close());
    const started = await claimFolder(data, file, store);
    const blocks = await openDiskBlocks({
      folder: join(data, "blocks"),
      reserveBytes: options.reserveBytes ?? reserveBytesDefault,
      digest: nodeDigest,
    });
    stops.push(() => blocks.close());
    const [peerHost, peerPort] = splitAddress(peerAddress);
    const transport = await openPeerLink({
      listen: { host: options.host ?? peerHost, port: peerPort },
      advertise: peerAddress,
      id: file.id,
      secret: secrets.peer,
      protocolVersion: PROTOCOL_VERSION,
      log,
    });
    stops.push(() => transport.close());
    const node = composeNode(
      {
        genesis,
        id: file.id,
        folder: file.folder,
        url,
        peerAddress,
        zone: options.zone ?? own?.zone ?? "default",
        position: options.position,
        incarnation: started.incarnation,
        routing: options.routing,
        seeds: genesis.nodes.map((one) => one.peerAddress).filter((one) => one !== peerAddress),
        gatewaySecret: secrets.gateway,
      },
      {
        clock: systemClock,
        chance: systemChance,
        store,
        blocks,
        transport,
        digest: nodeDigest,
        log,
      },
    );
    await node.start();
    stops.push(() => node.stop());
    const app = createNodeApp({
      object: node.object,
      route: node.route,
      status: () => node.status(),
      gatewaySecret: secrets.gateway,
      clock: systemClock,
      sliceBits: genesis.sliceBits,
      log,
    });
    const at = new URL(url);
    const server = await startHttpServer({
      app,
      host: options.host ?? at.hostname,
      port: Number(at.port),
      log,
    });
    stops.push(() => server.close());
    const gateway =
      options.gatewayPort === undefined
        ? undefined
        : await runGateway({
            host: options.host ?? at.hostname,
            port: options.gatewayPort,
            credentials: await readCredentials(data),
            secrets,
            nodes: node.object,
            trustProxy: options.trustProxy,
          });
    if (gateway) stops.push(() => gateway.stop());
    return { node, url, gatewayUrl: gateway?.url, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Proves that the registers are this folder's own, and counts the start. A wiped store may not vote again. */
async function claimFolder(data: string, file: NodeFile, store: Store): Promise<NodeFile> {
  const row = store.get("f/folder");
  const owner = row && decoder.decode(row);
  if (file.started && owner !== file.folder) {
    throw new CliError(
      `Cannot start: the registers in ${data} are ${owner === undefined ? "gone" : "those of another node"}. ` +
        "A node that lost its registers must not vote as before: restore the folder, or join as a new node.",
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
