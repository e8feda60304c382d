// `ringstow node --join`: makes an empty data folder that of a new node of a running cluster. The folder needs the
// cluster's secret; genesis and the node's id come from any node that answers.
// Invariant: node.json is written last, so a folder with one is whole, and an id is never used by two folders.
import { randomBytes } from "node:crypto";
import { parseFolderId } from "../../shared/ids.ts";
import { requestGrant } from "../route/grants.ts";
import { CliError } from "./cli-error.ts";
import { hasNodeFile, readSecret, writeGenesis, writeNodeFile } from "./cluster-files.ts";
import { withPeers } from "./peer-session.ts";

export interface JoinOptions {
  readonly data: string;
  /** host:port of the peer link of some node of the cluster. */
  readonly seed: string;
  /** What the new node advertises. */
  readonly url?: string | undefined;
  readonly peerAddress?: string | undefined;
  readonly zone?: string | undefined;
}

const genesisTimeoutMs = 5_000;

/** Does nothing when the folder is a node's already. Throws CliError when no id was granted; then nothing is written. */
export async function joinCluster(options: JoinOptions): Promise<void> {
  const { data, seed, url, peerAddress, zone } = options;
  if (await hasNodeFile(data)) return;
  if (url === undefined || peerAddress === undefined) {
    throw new CliError("Cannot join: a new node needs --url and --peer, by which others reach it");
  }
  const secret = await readSecret(data);
  const what = `join the cluster through ${seed} (give a running node's peer address, and its cluster's secret)`;
  await withPeers(secret, what, async (peers) => {
    const { genesis } = await peers.call({ address: seed }, "node.genesis", {}, genesisTimeoutMs);
    const folder = parseFolderId(randomBytes(8).toString("hex"));
    const id = await requestGrant(peers, [seed], folder);
    await writeGenesis(data, genesis);
    const advertised = { url, peerAddress, ...(zone === undefined ? {} : { zone }) };
    await writeNodeFile(data, { id, folder, incarnation: 0, started: false, ...advertised });
  });
}
