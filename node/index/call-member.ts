// A call to one member of a view, by the voter that the view names.
import { type VoterId, nodeOfVoter } from "../../shared/ids.ts";
import { type Peer, TransportError } from "../ports.ts";
import { type Route } from "../route/types.ts";

/**
 * Calls a member's node. Throws TransportError when its address is unknown or no answer came: of the latter the failure
 * detector hears.
 */
export async function callMember<T>(
  route: Pick<Route, "peer" | "observed">,
  member: VoterId,
  call: (peer: Peer) => Promise<T>,
): Promise<T> {
  const node = nodeOfVoter(member);
  const peer = route.peer(node);
  if (!peer) throw new TransportError("unreachable", `Cannot call ${member}: address unknown`);
  try {
    return await call(peer);
  } catch (error) {
    if (error instanceof TransportError) route.observed(node, false);
    throw error;
  }
}
