// The gateway on Cloudflare Workers (workerd): its platform port over the Workers runtime. It has no state but caches of
// one isolate, and imports nothing of Node. Rules of the runtime that shape it: no randomness or clock before the first
// request, no waiting for another request's promise, a stream keeps its Content-Length only through FixedLengthStream.
import { type Context } from "hono";
import { fromReadable, toReadable } from "../shared/body-stream.ts";
import { RingstowError } from "../shared/errors.ts";
import { fromHex, parseRequestId, toHex } from "../shared/ids.ts";
import { type Position } from "../shared/nearest.ts";
import { deriveSecrets } from "../shared/peer-auth.ts";
import { createGateway } from "./app.ts";
import { KeyCache } from "./auth/key-cache.ts";
import { type Platform } from "./platform.ts";
import { FetchCaller } from "./upstream/fetch-caller.ts";
import { NearestUpstream } from "./upstream/nearest-upstream.ts";
import { asSent, asStored } from "./worker-headers.ts";

/** Bindings, as wrangler.toml and `wrangler secret put` set them. */
export interface WorkerEnv {
  /** Base URLs of some nodes, separated by commas: the others are learned from them. */
  readonly RINGSTOW_NODES: string;
  /** A secret: the cluster's, 64 hex digits. */
  readonly RINGSTOW_SECRET: string;
  readonly RINGSTOW_REGION?: string;
  /** How clients reach this gateway, for virtual-hosted buckets. */
  readonly RINGSTOW_PUBLIC_URL?: string;
}

/** What one isolate made for the bindings that it was given. */
let made: { readonly env: WorkerEnv; readonly app: ReturnType<typeof createGateway> } | undefined;

export default {
  async fetch(request: Request, env: WorkerEnv, context: ExecutionContext): Promise<Response> {
    if (made?.env !== env) made = { env, app: createWorkerGateway(env) };
    return asStored(await made.app.fetch(asSent(request), env, context));
  },
};

function createWorkerGateway(env: WorkerEnv): ReturnType<typeof createGateway> {
  const seeds = (env.RINGSTOW_NODES ?? "").split(",").map((url) => url.trim().replace(/\/$/u, ""));
  if (!seeds.every((url) => URL.canParse(url))) {
    throw new Error("Cannot start: RINGSTOW_NODES must be URLs of nodes, separated by commas");
  }
  if (!/^[0-9a-f]{64}$/u.test(env.RINGSTOW_SECRET ?? "")) {
    throw new Error("Cannot start: RINGSTOW_SECRET must be the 64 hex digits of cluster.secret");
  }
  const secrets = deriveSecrets(fromHex(env.RINGSTOW_SECRET));
  const upstream = new NearestUpstream({
    seeds,
    gatewaySecret: secrets.gateway,
    caller: new FetchCaller(),
    wallMs: Date.now,
    session: randomHex(),
  });
  const keys = new KeyCache({
    keys: upstream.service({ ip: undefined, position: undefined }),
    keyEncryption: secrets.keyEncryption,
    wallMs: Date.now,
    newRequestId: () => parseRequestId(randomHex()),
    reportFault: (error) => console.error("Cannot read an access key:", error),
  });
  return createGateway({
    config: {
      region: env.RINGSTOW_REGION ?? "us-east-1",
      credentials: keys.find,
      publicUrl: env.RINGSTOW_PUBLIC_URL,
      trustForwarded: false,
      tokenSecret: secrets.gateway,
      hopSecret: secrets.hop,
    },
    platform: workerPlatform,
    upstream,
  });
}

const workerPlatform: Platform = {
  // Set by the platform, which overwrites what a client sends.
  clientIp: (c) => c.req.header("cf-connecting-ip"),
  position: positionOf,
  rawTarget: (c) => c.req.raw.url.slice(new URL(c.req.raw.url).origin.length) || "/",
  requestBody: (c) => fromReadable(c.req.raw.body),
  wallMs: Date.now,
  randomId: () => parseRequestId(randomHex()),
  toResponseBody(stream, length) {
    const { readable, writable } = new FixedLengthStream(length);
    // When the source breaks, the response breaks with it; when the client leaves, the source is told to stop.
    void toReadable(stream)
      .pipeTo(writable)
      .catch((error: unknown) => {
        if (!(error instanceof RingstowError)) console.error("A response ended early:", error);
      });
    return readable;
  },
};

/** Where the platform believes the client to be: decimal degrees, as text and not always there. */
function positionOf(c: Context): Position | undefined {
  const cf = (c.req.raw as { cf?: { latitude?: unknown; longitude?: unknown } }).cf;
  const latitude = Number.parseFloat(String(cf?.latitude));
  const longitude = Number.parseFloat(String(cf?.longitude));
  return Number.isFinite(latitude) && Number.isFinite(longitude)
    ? { latitude, longitude }
    : undefined;
}

function randomHex(): string {
  return toHex(crypto.getRandomValues(new Uint8Array(16)));
}
