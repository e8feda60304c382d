// What the ring's driver asks other nodes, and how it reads what comes back: a pointer names one life of a node, an
// answer from another life means that the one asked for has ended; silence means nothing until the detector judges.
import { RingstowError } from "../../shared/errors.ts";
import { callTimeoutMs, probeTimeoutMs } from "../../shared/limits.ts";
import { type ReplyOf } from "../../shared/protocol.ts";
import { type Peers } from "../peers.ts";
import { TransportError } from "../ports.ts";
import { type Background } from "./background.ts";
import { type FailureDetector } from "./failure-detector.ts";
import { type Gossip } from "./gossip.ts";
import { isLive, type MemberRow } from "./member-table.ts";
import { type Membership } from "./membership.ts";
import { hashText } from "./table-part.ts";
import { type Neighbours, type Pointer } from "./ring-state.ts";

/**
 * "failed": surely no member in that life. "absent": runs, but is in no ring. "busy": ask again soon.
 * "silent": no answer, and the detector has not judged yet.
 */
export type Heard = Neighbours | "failed" | "absent" | "busy" | "silent";

export class RingCalls {
  readonly #membership: Membership;
  readonly #peers: Peers;
  readonly #detector: FailureDetector;
  readonly #gossip: Gossip;
  readonly #background: Background;
  /** What was heard last, mostly of the first successor: it need not travel again while it stays the same. */
  #last: Neighbours | undefined;

  constructor(deps: {
    membership: Membership;
    peers: Peers;
    detector: FailureDetector;
    gossip: Gossip;
    background: Background;
  }) {
    this.#membership = deps.membership;
    this.#peers = deps.peers;
    this.#detector = deps.detector;
    this.#gossip = deps.gossip;
    this.#background = deps.background;
  }

  isLive(pointer: Pointer): boolean {
    return this.#findLive(pointer) !== undefined;
  }

  /** The state query of STABILIZE, STABILIZE-2 and JOIN. */
  async ask(pointer: Pointer, purpose: "stabilize" | "join", asker: Pointer): Promise<Heard> {
    const row = this.#findLive(pointer);
    if (!row) return "failed";
    const peer = { id: row.id, address: row.peerAddress };
    const last = this.#last?.self.id === pointer.id ? this.#last : undefined;
    let reply: ReplyOf<"route.neighbours">;
    try {
      const timeoutMs = purpose === "join" ? callTimeoutMs : probeTimeoutMs;
      const request = { purpose, asker, ...(last && { seen: hashNeighbours(last) }) };
      reply = await this.#peers.call(peer, "route.neighbours", request, timeoutMs);
    } catch (error) {
      if (!(error instanceof TransportError || error instanceof RingstowError)) throw error;
      this.#detector.probe(pointer.id);
      return "silent";
    }
    if (reply.kind !== "member" && reply.kind !== "same") return reply.kind;
    const heard = reply.kind === "same" ? last! : readNeighbours(pointer, reply);
    if (pointer.life !== 0 && heard.self.life !== pointer.life) return "failed";
    this.#last = heard;
    return heard;
  }

  /** RECTIFY's ping: whether the node has surely ended the life that the pointer names. */
  async hasFailed(pointer: Pointer): Promise<boolean> {
    const row = this.#findLive(pointer);
    if (!row) return true;
    const reply = await this.#gossip.ask({ id: row.id, address: row.peerAddress });
    if (typeof reply !== "string") return pointer.life !== 0 && reply.life !== pointer.life;
    this.#detector.probe(pointer.id);
    return false;
  }

  /** Tells `to` that `self` may be its predecessor. A lost notify is repeated by the next stabilization. */
  notify(to: Pointer, self: Pointer): void {
    const row = this.#findLive(to);
    if (!row) return;
    this.#background.run("notify", async () => {
      try {
        const peer = { id: row.id, address: row.peerAddress };
        await this.#peers.call(peer, "route.notify", self, callTimeoutMs);
      } catch (error) {
        if (!(error instanceof TransportError || error instanceof RingstowError)) throw error;
      }
    });
  }

  #findLive(pointer: Pointer): MemberRow | undefined {
    const row = this.#membership.table.find(pointer.id);
    return row && isLive(row) ? row : undefined;
  }
}

function readNeighbours(
  { id }: Pointer,
  reply: Extract<ReplyOf<"route.neighbours">, { kind: "member" }>,
): Neighbours {
  const { life, successors, predecessor } = reply;
  return { self: { id, life }, successors, predecessor };
}

/** Equal for equal answers to a state query. */
export function hashNeighbours({ self, successors, predecessor }: Neighbours): number {
  const pointers = [self, ...successors, ...(predecessor ? [predecessor] : [])];
  return hashText(pointers.map(({ id, life }) => `${id} ${life}`).join());
}
