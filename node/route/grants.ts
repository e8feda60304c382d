// Ids for new nodes. The owner of the largest gap serialises the joins into it: it grants the middle and remembers it
// until the node appears or `grantKeptMs` is over. A joiner that asks again gets the same id.
import { RingstowError } from "../../shared/errors.ts";
import { type FolderId, type NodeId, toHex } from "../../shared/ids.ts";
import { grantKeptMs, grantRedirectsMax, probeTimeoutMs } from "../../shared/limits.ts";
import { type ReplyOf, type RequestOf } from "../../shared/protocol.ts";
import { type Peers } from "../peers.ts";
import { type Chance, type Clock, type Peer, TransportError } from "../ports.ts";
import { chooseGap, gapsOf, middleOf } from "./gaps.ts";
import { type Membership } from "./membership.ts";

interface Deps {
  readonly membership: Membership;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly chance: Chance;
}

/** Answers joiners from now on. */
export function serveGrants(deps: Deps): void {
  const grants = new Grants(deps);
  deps.peers.onCall("route.grant", (request) => grants.answer(request));
}

class Grants {
  readonly #deps: Deps;
  readonly #pending = new Map<FolderId, { readonly id: NodeId; readonly untilMs: number }>();

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  answer({ joiner, visited }: RequestOf<"route.grant">): ReplyOf<"route.grant"> {
    const { membership, chance } = this.#deps;
    this.#expire();
    const known = this.#pending.get(joiner);
    if (known) return { kind: "granted", id: known.id };
    const { self, table } = membership;
    const live = table.live().map((row) => row.id);
    const pending = [...this.#pending.values()].map((each) => each.id);
    if (live.length === 0) throw new RingstowError("Unavailable", "Cannot grant an id: no member");
    const gap = chooseGap(gapsOf(live, pending), self.id, new Set(visited));
    const owner = table.find(gap.owner)!;
    if (owner.id !== self.id && !visited.includes(owner.id)) {
      return { kind: "elsewhere", id: owner.id, address: owner.peerAddress, from: self.id };
    }
    const id = middleOf(gap, BigInt(`0x${toHex(chance.bytes(8))}`));
    this.#pending.set(joiner, { id, untilMs: this.#deps.clock.monotonicMs() + grantKeptMs });
    return { kind: "granted", id };
  }

  #expire(): void {
    const { membership, clock } = this.#deps;
    const now = clock.monotonicMs();
    for (const [joiner, { id, untilMs }] of this.#pending) {
      if (untilMs <= now || membership.table.find(id)) this.#pending.delete(joiner);
    }
  }
}

/**
 * Asks the cluster for the id of a new node. The caller must have it on disk before the node starts.
 * @param seeds host:port of peer links, tried in turn
 * @param joiner the new node's data folder: asked again, the same id is granted
 * Throws Unavailable when no seed leads to a grant.
 */
export async function requestGrant(
  peers: Peers,
  seeds: readonly string[],
  joiner: FolderId,
): Promise<NodeId> {
  let last: unknown;
  for (const seed of seeds) {
    const visited = new Set<NodeId>();
    let next: Peer = { address: seed };
    for (let step = 0; step < grantRedirectsMax; step++) {
      try {
        const request = { joiner, visited: [...visited] };
        const reply = await peers.call(next, "route.grant", request, 2 * probeTimeoutMs);
        if (reply.kind === "granted") return reply.id;
        visited.add(reply.from);
        next = { address: reply.address, id: reply.id };
      } catch (error) {
        if (!(error instanceof TransportError || error instanceof RingstowError)) throw error;
        last = error;
        // The one we were sent to does not answer: let the seed choose another.
        if (next.id === undefined) break;
        visited.add(next.id);
        next = { address: seed };
      }
    }
  }
  const reason = last instanceof Error ? last.message : "no seed leads to a grant";
  throw new RingstowError("Unavailable", `Cannot get an id for a new node: ${reason}`);
}
