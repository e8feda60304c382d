// `ringstow gateway`: an S3 gateway on Node, apart from the nodes or inside one of them.
import { type ClusterSecrets } from "../../shared/peer-auth.ts";
import { type NodeService } from "../../shared/object-protocol.ts";
import { createNodeUpstream, serveGateway } from "../../gateway/serve.ts";
import { type Upstream } from "../../gateway/platform.ts";
import { KeyCache } from "../../gateway/auth/key-cache.ts";
import { advise } from "./cli-error.ts";
import { newRequestId } from "./new-request-id.ts";

/** The region of S3 clients that were told none. */
export const REGION_DEFAULT = "us-east-1";

export interface GatewayOptions {
  readonly host: string;
  readonly port: number;
  /** S3 region that clients use. */
  readonly region: string;
  readonly secrets: ClusterSecrets;
  /** Base URLs of nodes to learn the others from, or the node that this gateway is part of. */
  readonly nodes: readonly string[] | NodeService;
  /** Own address to call nodes from; undefined: the system chooses. */
  readonly from?: string | undefined;
  readonly publicUrl?: string | undefined;
  /** Believe X-Forwarded-For and X-Forwarded-Host. */
  readonly trustProxy: boolean;
}

export interface RunningGateway {
  readonly url: string;
  stop(): Promise<void>;
}

export async function runGateway(options: GatewayOptions): Promise<RunningGateway> {
  const { secrets, nodes } = options;
  const apart =
    "length" in nodes
      ? createNodeUpstream({
          seeds: nodes,
          gatewaySecret: secrets.gateway,
          from: options.from,
        })
      : undefined;
  const upstream: Upstream = apart ?? { service: () => nodes as NodeService };
  const keys = new KeyCache({
    keys: upstream.service({ ip: undefined, position: undefined }),
    keyEncryption: secrets.keyEncryption,
    wallMs: Date.now,
    newRequestId,
    reportFault: (error) => process.stderr.write(`Cannot read an access key: ${String(error)}\n`),
  });
  await apart?.start().catch((error: unknown) => {
    // Nodes may start later than their gateway: every request looks for them again.
    const reason = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    process.stderr.write(
      `No node answers yet, requests get 503 until one does: ${String(reason)}\n`,
    );
  });
  const server = await serveGateway({
    config: {
      region: options.region,
      credentials: keys.find,
      publicUrl: options.publicUrl,
      trustForwarded: options.trustProxy,
      tokenSecret: secrets.gateway,
      hopSecret: secrets.hop,
    },
    upstream,
    host: options.host,
    port: options.port,
  }).catch(advise("Stop that process, or choose another port with --port."));
  return {
    url: server.url,
    async stop() {
      await server.close();
      await apart?.stop();
    },
  };
}
