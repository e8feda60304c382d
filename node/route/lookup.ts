// Finds who is responsible for a point. The lookup is iterative: this node asks each next node itself, so that a node
// that does not answer is passed over at once (the failure detector is never waited for) and the hops can be counted.
// By table the first node asked is the owner; `routing: "fingers"` takes Chord's way instead.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId, type RingId } from "../../shared/ids.ts";
import { callTimeoutMs, hopsMax } from "../../shared/limits.ts";
import { successorIndex } from "../../shared/ring.ts";
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
}

export class Lookup {
  readonly #deps: Deps;
  #fingers: { readonly live: readonly MemberRow[]; readonly ids: readonly NodeId[] } | undefined;

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
    const tried = new Set<NodeId>(path);
    let waiting = own.candidates;
    let hops = 0;
    while (hops < hopsMax) {
      const next = waiting.find((each) => !tried.has(each.id));
      if (!next) break;
      tried.add(next.id);
      hops++;
      const reply = await this.#ask(next, point, silent);
      if (!reply) {
        silent.add(next.id);
        // Without that node, this one may be responsible, or know others to ask.
        const again = this.#answer(point, silent);
        if (again.owner) return { owner: membership.self, hops, path };
        waiting = [...waiting, ...again.candidates];
        continue;
      }
      path.push(next.id);
      const owner = membership.table.find(next.id);
      if (reply.owner && owner) return { owner, hops, path };
      // What the nearer node says comes first; the rest stays for the case that its candidates are gone.
      waiting = [...reply.candidates, ...waiting].slice(0, hopsMax);
    }
    throw new RingstowError("Unavailable", `Cannot find the owner of "${point}": nobody answers`);
  }

  /** Whether this node is responsible, else whom to ask, as if the silent nodes were not there. */
  #answer(point: RingId, silent: ReadonlySet<NodeId>): ReplyOf<"route.next"> {
    const { membership, routing } = this.#deps;
    const { self, table } = membership;
    const live = table.live();
    const present =
      silent.size === 0 ? live : live.filter((row) => row === self || !silent.has(row.id));
    const ids = present.map((row) => row.id);
    const next =
      routing === "table"
        ? ownersByTable(self.id, ids, point)
        : this.#nextByRing(live, ids, point, silent);
    if (next === "self") return { owner: true, candidates: [] };
    return { owner: false, candidates: next.flatMap((id) => table.find(id) ?? []).map(toStop) };
  }

  #nextByRing(
    live: readonly MemberRow[],
    ids: readonly NodeId[],
    point: RingId,
    silent: ReadonlySet<NodeId>,
  ): readonly NodeId[] | "self" {
    const { self, table } = this.#deps.membership;
    const isThere = (id: NodeId | undefined): id is NodeId =>
      id !== undefined && !silent.has(id) && isLive(table.find(id) ?? { state: "dead" });
    const ring = this.#deps.ring();
    const successors = ring.successors.filter(isThere);
    const tableBefore = ids[(ids.indexOf(self.id) + ids.length - 1) % ids.length]!;
    const before = isThere(ring.predecessor) ? ring.predecessor : tableBefore;
    if (ids.length === 1 || inArc(before, point, self.id)) return "self";
    const fingers = this.#currentFingers(live).filter(isThere);
    return nextHops(self.id, successors, fingers, point, candidatesMax);
  }

  #currentFingers(live: readonly MemberRow[]): readonly NodeId[] {
    // The table hands out the same list until it changes.
    if (this.#fingers?.live !== live) {
      const ids = live.map((row) => row.id);
      this.#fingers = { live, ids: fingersOf(this.#deps.membership.self.id, ids) };
    }
    return this.#fingers.ids;
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

/** The first nodes at or after the point; "self" when that is this node. */
function ownersByTable(
  self: NodeId,
  ids: readonly NodeId[],
  point: RingId,
): readonly NodeId[] | "self" {
  const first = successorIndex(ids, point);
  if (ids[first] === self) return "self";
  const count = Math.min(candidatesMax, ids.length);
  const next = Array.from({ length: count }, (_, offset) => ids[(first + offset) % ids.length]!);
  return next.filter((id) => id !== self);
}

function toStop(row: MemberRow): { id: NodeId; address: string } {
  return { id: row.id, address: row.peerAddress };
}
