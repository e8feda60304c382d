// A cluster as the commands of an operator use it: signed calls to its nodes, by the secret in a data folder.
import { createNodeUpstream } from "../../gateway/serve.ts";
import { type NodeService } from "../../shared/object-protocol.ts";
import { type ClusterSecrets, deriveSecrets } from "../../shared/peer-auth.ts";
import { readNodeUrls, readSecret } from "./cluster-files.ts";

export interface Cluster {
  readonly service: NodeService;
  readonly secrets: ClusterSecrets;
}

/** Does work with the nodes of the cluster of a folder. Throws Unavailable when none answers. */
export async function withCluster<T>(
  data: string,
  work: (cluster: Cluster) => Promise<T>,
): Promise<T> {
  const secrets = deriveSecrets(await readSecret(data));
  const upstream = createNodeUpstream({
    seeds: await readNodeUrls(data),
    gatewaySecret: secrets.gateway,
  });
  await upstream.start();
  try {
    const service = upstream.service({ ip: undefined, position: undefined });
    return await work({ service, secrets });
  } finally {
    await upstream.stop();
  }
}
