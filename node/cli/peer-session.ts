// A command of an operator that talks to nodes over their peer links: by the cluster's secret, as nobody in particular.
import { randomBytes } from "node:crypto";
import { RingstowError } from "../../shared/errors.ts";
import { parseNodeId } from "../../shared/ids.ts";
import { deriveSecrets } from "../../shared/peer-auth.ts";
import { PROTOCOL_VERSION } from "../../shared/protocol.ts";
import { Peers } from "../peers.ts";
import { TransportError } from "../ports.ts";
import { silentLog } from "../runtime/json-log.ts";
import { openPeerLink } from "../runtime/peer-link.ts";
import { CliError } from "./cli-error.ts";

/**
 * Does work with nodes of the cluster of a secret; the link is closed afterwards.
 * @param what the work for people, such as "join the cluster through 10.0.0.1:9101"
 * Throws CliError when a node does not answer or refuses.
 */
export async function withPeers<T>(
  secret: Uint8Array,
  what: string,
  work: (peers: Peers) => Promise<T>,
): Promise<T> {
  const link = await openPeerLink({
    listen: { host: "127.0.0.1", port: 0 },
    advertise: "127.0.0.1:0",
    id: parseNodeId(randomBytes(16).toString("hex")),
    secret: deriveSecrets(secret).peer,
    protocolVersion: PROTOCOL_VERSION,
    log: silentLog,
  });
  try {
    return await work(new Peers(link));
  } catch (error) {
    if (!(error instanceof TransportError || error instanceof RingstowError)) throw error;
    throw new CliError(`Cannot ${what}: ${error.message}`);
  } finally {
    await link.close();
  }
}
