// The gateway on Node: its platform port over node:http, and a server. The only file of the gateway that may import
// Node's parts; it shares the server of the nodes, so that bodies take the same short way.
import { randomBytes } from "node:crypto";
import { type Context } from "hono";
import { customAlphabet } from "nanoid";
import {
  type HttpServerOptions,
  type Refusal,
  type RunningHttpServer,
  type Unreadable,
  startHttpServer,
} from "../node/runtime/http-server.ts";
import { fromReadable, toReadable } from "../shared/body-stream.ts";
import { parseRequestId } from "../shared/ids.ts";
import { type ServerBindings } from "../shared/server-bindings.ts";
import { type GatewayConfig, createGateway } from "./app.ts";
import { type Platform, type Upstream } from "./platform.ts";
import { S3Error, type S3ErrorCode, errorXml } from "./s3/errors.ts";
import { NearestUpstream } from "./upstream/nearest-upstream.ts";
import { NodeCaller } from "./upstream/node-caller.ts";

export interface ServeGatewayOptions {
  readonly config: GatewayConfig;
  readonly upstream: Upstream;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly log?: HttpServerOptions["log"];
}

/** Serves a gateway. Rejects with a clear message when the port is taken. */
export function serveGateway(options: ServeGatewayOptions): Promise<RunningHttpServer> {
  const { config, upstream, host, port, log } = options;
  const platform = nodePlatform(config.trustForwarded);
  const app = createGateway({ config, platform, upstream });
  const refuse = (what: Unreadable): Refusal => refusalOf(what, platform.randomId());
  return startHttpServer({ app, host, port, log, refuse });
}

/** S3's answer to what never became a request, or ended before its body did. */
function refusalOf(what: Unreadable, id: string): Refusal {
  const requestId = id.slice(0, 16).toUpperCase();
  const error = new S3Error(UNREADABLE[what]);
  return {
    status: error.status,
    headers: { "content-type": "application/xml", "x-amz-request-id": requestId },
    body: errorXml(error, "/", requestId),
  };
}

const UNREADABLE = {
  bodyCutOff: "IncompleteBody",
  headersTooLarge: "RequestHeaderSectionTooLarge",
  tooSlow: "RequestTimeout",
  malformed: "InvalidRequest",
} as const satisfies Record<Unreadable, S3ErrorCode>;

/** An upstream over HTTP for gateways that run apart from the nodes. Call start() before serving. */
export function createNodeUpstream(options: {
  readonly seeds: readonly string[];
  readonly gatewaySecret: Uint8Array;
  /** Own address to call nodes from; undefined: the system chooses. */
  readonly from?: string | undefined;
}): NearestUpstream {
  const { seeds, gatewaySecret, from } = options;
  return new NearestUpstream({
    seeds,
    gatewaySecret,
    caller: new NodeCaller(from),
    wallMs: Date.now,
    session: randomBytes(16).toString("hex"),
  });
}

/** 128 random bits, drawn from the system in larger pieces: one call a request would cost more than its signature. */
const randomHex = customAlphabet("0123456789abcdef", 32);

/**
 * The platform port on a server that gives ServerBindings.
 * @param trustForwarded believe the last address of X-Forwarded-For: only behind a proxy that sets it
 */
export function nodePlatform(trustForwarded: boolean): Platform {
  const bindings = (c: Context): ServerBindings => c.env as ServerBindings;
  return {
    clientIp: (c) =>
      (trustForwarded ? lastForwarded(c.req.header("x-forwarded-for")) : undefined) ??
      bindings(c).remoteIp,
    position: () => undefined,
    rawTarget: (c) => bindings(c).rawTarget ?? "/",
    rawHeaders: (c) => bindings(c).rawHeaders,
    requestBody: (c) => bindings(c).requestBody?.() ?? fromReadable(c.req.raw.body),
    wallMs: Date.now,
    randomId: () => parseRequestId(randomHex()),
    // The server takes the source back out and writes it to the socket itself. It knows the length by the
    // response's Content-Length, which the app sets.
    toResponseBody: (stream) => toReadable(stream),
  };
}

// A proxy appends the address it saw; what stands before it came from the client and may be invented.
function lastForwarded(header: string | undefined): string | undefined {
  return header?.split(",").at(-1)?.trim() || undefined;
}
