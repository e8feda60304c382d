// `ringstow gateway`: an S3 gateway on Node, apart from the nodes or inside one of them.
import { type ClusterSecrets } from "../../shared/peer-auth.ts";
import { type NodeService } from "../../shared/object-protocol.ts";
import { createNodeUpstream, serveGateway } from "../../gateway/serve.ts";
import { type Upstream } from "../../gateway/platform.ts";
import { advise } from "./cli-error.ts";
import { type Credentials } from "./cluster-files.ts";

export interface GatewayOptions {
  readonly host: string;
  readonly port: number;
  readonly credentials: Credentials;
  readonly secrets: ClusterSecrets;
  /** Base URLs of nodes to learn the others from, or the node that this gateway is part of. */
  readonly nodes: readonly string[] | NodeService;
  readonly publicUrl?: string | undefined;
  /** Believe X-Forwarded-For and X-Forwarded-Host. */
  readonly trustProxy: boolean;
}

export interface RunningGateway {
  readonly url: string;
  stop(): Promise<void>;
}

export async function runGateway(options: GatewayOptions): Promise<RunningGateway> {
  const { credentials, secrets, nodes } = options;
  const keys = new Map(credentials.keys.map((key) => [key.accessKeyId, key]));
  const apart =
    "length" in nodes
      ? createNodeUpstream({ seeds: nodes, gatewaySecret: secrets.gateway })
      : undefined;
  const upstream: Upstream = apart ?? { service: () => nodes as NodeService };
  await apart?.start().catch((error: unknown) => {
    // Nodes may start later than their gateway: every request looks for them again.
    const reason = error instanceof Error ? error.message : String(error);
    process.stderr.write(`No node answers yet, requests get 503 until one does: ${reason}\n`);
  });
  const server = await serveGateway({
    config: {
      region: credentials.region,
      credentials: async (accessKeyId) => keys.get(accessKeyId),
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
