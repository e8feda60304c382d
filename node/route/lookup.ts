// Finds who is responsible for a point. The lookup is iterative: this node asks each next node itself, so that a node
// that does not answer is passed over at once (the failure detector is never waited for) and the hops can be counted.
// By table the first node asked is the owner; `routing: "fingers"` takes Chord's way instead.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId, type RingId } from "../../shared/ids.ts";
import { callTimeoutMs, hopsMax } from "../../shared/limits.ts";
import { type ReplyOf } from "../../shared/protocol.ts";
import { type Peers } from "../peers.ts";
import { type Peer, TransportError } from "../ports.ts";
import { type FailureDetector } from "./failure-detector.ts";
import { fingersOf, inArc, nextHops } from "./fingers.ts";
import { isLive, type MemberRow } from "./member-table.ts";
import { type Membership } from "./membership.ts";
import { type LookupResult, type Ring } from "./types.ts";

/** Nodes offered for the next step: one, and two for the case that it is gone. */
const candidatesMax = 3;

interface Deps {
  readonly membership: Membership;
  readonly detector: FailureDetector;
  readonly peers: Peers;
  readonly routing: "table" | "fingers";
  readonly ring: () => Ring;
  /** A node answers a ping with its row when the asker does not know it. */
  readonly ping: (peer: Peer) => Promise<unknown>;
}

/** A node that may be asked. */
interface Stop {
  readonly id: NodeId;
  readonly address: string;
  /** Who said so; undefined for this node itself. */
  readonly namedBy?: Stop;
}

export class Lookup {
  readonly #deps: Deps;
  /** Of the table in a version of it. */
  #fingers: { readonly version: number; readonly ids: readonly NodeId[] } | undefined;

  constructor(deps: Deps) {
    this.#deps = deps;
    deps.peers.onCall("route.next", ({ point, silent }) => this.#answer(point, new Set(silent)));
  }

  /** Throws Unavailable when no node that may be responsible answers. */
  async lookup(point: RingId): Promise<LookupResult> {
    const { membership } = this.#deps;
    const path: NodeId[] = [membership.self.id];
    const silent = new Set<NodeId>();
    const own = this.#answer(point, silent);
    if (own.owner) return { owner: membership.self, hops: 0, path };
    const silentWhenAsked = new Map<NodeId, number>([[membership.self.id, Infinity]]);
    const isWorthAsking = ({ id }: Stop): boolean =>
      !silent.has(id) && (silentWhenAsked.get(id) ?? -1) < silent.size;
    let waiting: Stop[] = own.candidates;
    let hops = 0;
    while (hops < hopsMax) {
      const next = waiting.find(isWorthAsking);
      if (!next) break;
      silentWhenAsked.set(next.id, silent.size);
      hops++;
      const reply = await this.#ask(next, point, silent);
      if (!reply) {
        silent.add(next.id);
        // Without that node, this one may be responsible, or know others to ask.
        const again = this.#answer(point, silent);
        if (again.owner) return { owner: membership.self, hops, path };
        // So may be who named it: that one is asked again.
        waiting = [...(next.namedBy ? [next.namedBy] : []), ...waiting, ...again.candidates];
        continue;
      }
      path.push(next.id);
      if (reply.owner) {
        const owner = await this.#meet(next);
        if (owner) return { owner, hops, path };
      }
      // What the nearer node says comes first; the rest stays for the case that its candidates are gone.
      const named = reply.candidates.map((each) => ({ ...each, namedBy: next }));
      waiting = [...named, ...waiting].slice(0, hopsMax);
    }
    throw new RingstowError("Unavailable", `Cannot find the owner of "${point}": nobody answers`);
  }

  /** Whether this node is responsible, else whom to ask, as if the silent nodes were not there. */
  #answer(point: RingId, silent: ReadonlySet<NodeId>): ReplyOf<"route.next"> {
    const { membership, routing } = this.#deps;
    const { self, table } = membership;
    const isThere = (row: MemberRow): boolean => row.id === self.id || !silent.has(row.id);
    const next =
      routing === "table"
        ? table.liveFrom(point).filter(isThere).take(candidatesMax).toArray()
        : this.#nextByRing(point, isThere);
    if (next[0]?.id === self.id) return { owner: true, candidates: [] };
    return { owner: false, candidates: next.filter((row) => row.id !== self.id).map(toStop) };
  }

  /** This node alone when it is responsible. */
  #nextByRing(point: RingId, isThere: (row: MemberRow) => boolean): MemberRow[] {
    const { self, table } = this.#deps.membership;
    const find = (id: NodeId | undefined): MemberRow | undefined => {
      const row = id === undefined ? undefined : table.find(id);
      return row && isLive(row) && isThere(row) ? row : undefined;
    };
    const ring = this.#deps.ring();
    const before =
      find(ring.predecessor) ??
      table.liveBefore(self.id).find((row) => row.id !== self.id && isThere(row));
    // A node that has left is responsible for nothing.
    const isMember = isLive(self);
    if (isMember && (!before || inArc(before.id, point, self.id))) return [self];
    const successors = ring.successors.filter((id) => find(id));
    const fingers = this.#currentFingers().filter((id) => find(id));
    const next = nextHops(self.id, successors, fingers, point, candidatesMax).map((id) =>
      find(id)!,
    );
    // Whoever sent the lookup here takes this node for the owner and does not know the one before it, or knows that it
    // is gone: then naming it settles the matter, where fingers would lead once around to the same place.
    const isBefore = before && table.liveFrom(point).find(isThere)?.id === before.id;
    return isBefore ? [before, ...next] : next;
  }

  #currentFingers(): readonly NodeId[] {
    const { self, table } = this.#deps.membership;
    if (this.#fingers?.version !== table.version) {
      const ownerOf = (point: RingId): NodeId => table.liveFrom(point).next().value?.id ?? self.id;
      this.#fingers = { version: table.version, ids: fingersOf(self.id, ownerOf) };
    }
    return this.#fingers.ids;
  }

  /** The row of a node that answered. Others named it, perhaps before news of its join came here. */
  async #meet(peer: { id: NodeId; address: string }): Promise<MemberRow | undefined> {
    const { table } = this.#deps.membership;
    if (!table.find(peer.id)) await this.#deps.ping(peer);
    return table.find(peer.id);
  }

  async #ask(
    next: { id: NodeId; address: string },
    point: RingId,
    silent: ReadonlySet<NodeId>,
  ): Promise<ReplyOf<"route.next"> | undefined> {
    const { peers, detector } = this.#deps;
    const peer: Peer = { id: next.id, address: next.address };
    try {
      return await peers.call(peer, "route.next", { point, silent: [...silent] }, callTimeoutMs);
    } catch (error) {
      if (!(error instanceof TransportError || error instanceof RingstowError)) throw error;
      detector.probe(next.id);
      return undefined;
    }
  }
}

function toStop(row: MemberRow): { id: NodeId; address: string } {
  return { id: row.id, address: row.peerAddress };
}
