// `ringstow node leave`: a node hands over all that it holds.
import { type NodeId } from "../../shared/ids.ts";
import { type NodeStatus } from "../../shared/protocol/node.ts";
import { readGenesis, readNodeFile, readSecret } from "./cluster-files.ts";
import { CliError } from "./cli-error.ts";
import { withPeers } from "./peer-session.ts";
import { type ClusterStatus, clusterStatus } from "./status.ts";

const callTimeoutMs = 10_000;
const pollMs = 1_000;
const tellMs = 5_000;

/** Lets the running node of a data folder hand over its slices and the blocks that it holds; then it may be stopped. */
export async function leaveCluster(data: string, tell: (line: string) => void): Promise<void> {
  const { id, peerAddress } = await readNodeFile(data);
  const { nodes } = await readGenesis(data);
  const address = peerAddress ?? nodes.find((node) => node.id === id)?.peerAddress;
  if (address === undefined)
    throw new CliError(`Cannot leave: no peer address is known of ${data}`);
  const secret = await readSecret(data);
  await withPeers(secret, `let the node of ${data} leave`, async (peers) => {
    await peers.call({ address, id }, "node.leave", {}, callTimeoutMs);
    let toldMs = -Infinity;
    for (;;) {
      const own: NodeStatus = await peers.call({ address, id }, "node.status", {}, callTimeoutMs);
      const missing = missingCopies(await clusterStatus(data), id);
      if (own.slicesHeld === 0 && missing === 0) return;
      if (performance.now() - toldMs >= tellMs) {
        toldMs = performance.now();
        tell(`${own.slicesHeld} slices to hand over, ${missing} blocks to copy`);
      }
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  });
}

function missingCopies({ nodes }: ClusterStatus, without: NodeId): number {
  return nodes
    .filter((node) => node.id !== without)
    .reduce((sum, { status }) => sum + (status?.underReplicated ?? 0), 0);
}
