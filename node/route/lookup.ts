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
    deps.peers.onCall("route.next", ({ point }) => this.#answer(point));
  }

  /** Throws Unavailable when no node that may be responsible answers. */
  async lookup(point: RingId): Promise<LookupResult> {
    const { membership } = this.#deps;
    const path: NodeId[] = [membership.self.id];
    const own = this.#answer(point);
    if (own.owner) return { owner: membership.self, hops: 0, path };
    const tried = new Set<NodeId>(path);
    let waiting = own.candidates;
    let hops = 0;
    while (hops < hopsMax) {
      const next = waiting.find((each) => !tried.has(each.id));
      if (!next) break;
      tried.add(next.id);
      hops++;
      const reply = await this.#ask(next, point);
      if (!reply) continue;
      path.push(next.id);
      const owner = membership.table.find(next.id);
      if (reply.owner && owner) return { owner, hops, path };
      // What the nearer node says comes first; the rest stays for the case that its candidates are gone.
      waiting = [...reply.candidates, ...waiting].slice(0, hopsMax);
    }
    throw new RingstowError("Unavailable", `Cannot find the owner of "${point}": nobody answers`);
  }

  #answer(point: RingId): ReplyOf<"route.next"> {
    const { membership, routing, ring } = this.#deps;
    const { self, table } = membership;
    const live = table.live();
    const ids = live.map((row) => row.id);
    const { successors, predecessor } = ring();
    if (routing === "table") {
      const first = successorIndex(ids, point);
      if (ids[first] === self.id) return { owner: true, candidates: [] };
      const next = Array.from({ length: Math.min(candidatesMax, live.length) }, (_, offset) => {
        return live[(first + offset) % live.length]!;
      });
      return { owner: false, candidates: next.filter((row) => row.id !== self.id).map(toStop) };
    }
    const alone = successors.length === 0;
    const before = predecessor ?? ids[(ids.indexOf(self.id) + ids.length - 1) % ids.length]!;
    if (alone || inArc(before, point, self.id)) return { owner: true, candidates: [] };
    const reachable = successors.filter((id) => isLive(table.find(id) ?? { state: "dead" }));
    const hops = nextHops(
      self.id,
      reachable,
      this.#currentFingers(live, ids),
      point,
      candidatesMax,
    );
    return { owner: false, candidates: hops.flatMap((id) => table.find(id) ?? []).map(toStop) };
  }

  #currentFingers(live: readonly MemberRow[], ids: readonly NodeId[]): readonly NodeId[] {
    // The table hands out the same list until it changes.
    if (this.#fingers?.live !== live) {
      this.#fingers = { live, ids: fingersOf(this.#deps.membership.self.id, ids) };
    }
    return this.#fingers.ids;
  }

  async #ask(
    next: { id: NodeId; address: string },
    point: RingId,
  ): Promise<ReplyOf<"route.next"> | undefined> {
    const { peers, detector } = this.#deps;
    const peer: Peer = { id: next.id, address: next.address };
    try {
      return await peers.call(peer, "route.next", { point }, callTimeoutMs);
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
