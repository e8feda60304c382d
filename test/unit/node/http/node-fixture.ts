// Node apps on 127.0.0.1 with doubles behind them, and an upstream that calls them.
import { type NodeService } from "../../../../shared/object-protocol.ts";
import { type Clock } from "../../../../node/ports.ts";
import { createNodeApp } from "../../../../node/http.ts";
import { type Member, type Route } from "../../../../node/route/types.ts";
import { type RunningHttpServer, startHttpServer } from "../../../../node/runtime/http-server.ts";
import { type NodeId } from "../../../../shared/ids.ts";
import { type ObjectService } from "../../../../shared/object-service.ts";
import { type HttpCaller } from "../../../../gateway/upstream/http-caller.ts";
import { NearestUpstream } from "../../../../gateway/upstream/nearest-upstream.ts";
import { NodeCaller } from "../../../../gateway/upstream/node-caller.ts";

export const gatewaySecret = new Uint8Array(32).fill(7);
export const here = { ip: "10.1.2.3", position: { latitude: 52.5, longitude: 13.4 } };
export const clock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: Date.now,
  after: () => {
    throw new Error("The HTTP app uses no timer");
  },
};

export interface TestNode {
  readonly id: NodeId;
  readonly server: RunningHttpServer;
}

/** Starts a node app; `members` is the table it tells, filled by startNodes. */
export async function startNode(
  digit: string,
  object: ObjectService,
  members: Member[],
  port = 0,
): Promise<TestNode> {
  const id = digit.repeat(32) as NodeId;
  const route = { self: { id }, live: () => members } as unknown as Route;
  const status = () => Promise.resolve({ id } as never);
  const digests = () => Promise.resolve(new Map([[7, "ab"]]));
  // The hop's tests call nothing else of a node.
  const service = object as unknown as NodeService;
  const app = createNodeApp({
    object: service,
    route,
    status,
    digests,
    gatewaySecret,
    clock,
    sliceBits: 8,
  });
  const server = await startHttpServer({ app, host: "127.0.0.1", port });
  members.push({ id, url: server.url, zone: "a", position: undefined, freeBytes: 5 } as Member);
  return { id, server };
}

/** Nodes "1111…", "2222…" and so on, in this order the owners of their arcs. */
export async function startNodes(objects: readonly ObjectService[]): Promise<TestNode[]> {
  const members: Member[] = [];
  const nodes: TestNode[] = [];
  for (const [i, object] of objects.entries())
    nodes.push(await startNode(String(i + 1), object, members));
  return nodes;
}

let sessions = 0;

export function upstreamOf(
  seeds: readonly string[],
  caller: HttpCaller = new NodeCaller(),
  secret: Uint8Array = gatewaySecret,
  wallMs: () => number = Date.now,
): NearestUpstream {
  const session = (++sessions).toString(16).padStart(32, "0");
  return new NearestUpstream({ seeds, gatewaySecret: secret, caller, wallMs, session });
}

export async function bytesOf(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}
