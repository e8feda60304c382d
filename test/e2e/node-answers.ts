// What nodes say of themselves on their signed paths, for tests that look behind the gateway.
import { randomBytes } from "node:crypto";
import { authHeader, digestsPath, statusPath } from "../../shared/object-protocol.ts";
import { ANY_NODE, RequestSigner, deriveSecrets } from "../../shared/peer-auth.ts";
import { type NodeStatus, nodeStatusSchema } from "../../shared/protocol/node.ts";
import { readSecret } from "../../node/cli/cluster-files.ts";
import { type DevFile } from "./dev-cluster.ts";

/** Nodes, and a folder with the cluster's secret. */
export interface Asked {
  readonly folder: string;
  readonly dev: Pick<DevFile, "nodes">;
}

async function ask(cluster: Asked, url: string, path: string): Promise<unknown> {
  const secrets = deriveSecrets(await readSecret(cluster.folder));
  const signer = new RequestSigner(secrets.gateway, randomBytes(16).toString("hex"), Date.now);
  const auth = signer.sign({ method: "GET", path, args: "" }, ANY_NODE, {});
  const signal = AbortSignal.timeout(10_000);
  const response = await fetch(`${url}${path}`, { headers: { [authHeader]: auth }, signal });
  if (!response.ok) throw new Error(`${url}${path} answered ${response.status}`);
  return response.json();
}

/** The statuses of all nodes in the order of dev.json; throws when one does not answer. */
export async function statuses(cluster: Asked): Promise<NodeStatus[]> {
  const { nodes } = cluster.dev;
  return Promise.all(
    nodes.map(async ({ url }) => nodeStatusSchema.parse(await ask(cluster, url, statusPath))),
  );
}

/** Slices whose holders do not tell the same digest, or that have fewer than `copies` holders. */
export async function differingSlices(
  cluster: Asked,
  copies = 3,
): Promise<{ slices: number; nonEmpty: number; differing: number[]; few: number[] }> {
  const answers = await Promise.all(
    cluster.dev.nodes.map(
      async ({ url }) => (await ask(cluster, url, digestsPath)) as Record<string, string>,
    ),
  );
  const told = new Map<string, string[]>();
  for (const answer of answers) {
    for (const [slice, digest] of Object.entries(answer)) {
      const digests = told.get(slice) ?? [];
      digests.push(digest);
      told.set(slice, digests);
    }
  }
  const differing: number[] = [];
  const few: number[] = [];
  let nonEmpty = 0;
  for (const [slice, digests] of told) {
    if (digests.some((digest) => digest !== "")) nonEmpty++;
    if (digests.length < copies) few.push(Number(slice));
    if (digests.length < copies || new Set(digests).size > 1) differing.push(Number(slice));
  }
  return { slices: told.size, nonEmpty, differing, few };
}
