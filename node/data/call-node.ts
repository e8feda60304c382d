// One call of the data module to a node that only its id names.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import { type CallName, type ReplyOf, type RequestOf } from "../../shared/protocol.ts";
import { type Peers } from "../peers.ts";
import { TransportError } from "../ports.ts";
import { type Route } from "../route/types.ts";

/** Throws what the node threw; Unavailable when it is unknown or no answer came: the work may be done all the same. */
export async function callNode<N extends CallName>(
  deps: { readonly peers: Peers; readonly route: Route },
  node: NodeId,
  name: N,
  request: RequestOf<N>,
  timeoutMs: number,
): Promise<ReplyOf<N>> {
  const peer = deps.route.peer(node);
  if (!peer) throw new RingstowError("Unavailable", `Cannot call node "${node}": it is unknown`);
  try {
    return await deps.peers.call({ ...peer, id: node }, name, request, timeoutMs);
  } catch (error) {
    if (error instanceof TransportError) throw new RingstowError("Unavailable", error.message);
    throw error;
  }
}
