// Gossip: one member is pinged a period, in random order without repeats (SWIM, section 4.3), changes ride on the pings.
// A starting node greets everybody it knows; tables are compared by hashes at start and every 30 s; the dead are asked
// now and then whether they live, which is how a healed partition is noticed.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import {
  announceMax,
  deadProbeMs,
  exchangeMs,
  gossipMs,
  probeTimeoutMs,
} from "../../shared/limits.ts";
import { type ReplyOf } from "../../shared/protocol.ts";
import { type Peers } from "../peers.ts";
import { type Chance, type Clock, type Peer, type Timer, TransportError } from "../ports.ts";
import { type Background } from "./background.ts";
import { type FailureDetector, type ProbeOutcome } from "./failure-detector.ts";
import { isLive, type MemberRow, rowFromWire } from "./member-table.ts";
import { type Membership, type Side } from "./membership.ts";
import { shuffled } from "./shuffled.ts";

interface Deps {
  readonly membership: Membership;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly background: Background;
  readonly genesis: ReadonlySet<NodeId>;
  /** The incarnation with which this node is in the ring; 0 when it is not. */
  readonly life: () => number;
  /** This node was declared dead and has refuted; `yields`: its side is the one that joins the ring again. */
  readonly onRevived: (yields: boolean) => void;
}

export class Gossip {
  readonly #deps: Deps;
  /** Set by attach(): the detector needs ping(), gossip needs the detector. */
  #detector: FailureDetector | undefined;
  /** Highest incarnation in which each node was spoken to. */
  readonly #spokenTo = new Map<NodeId, number>();
  #turn: NodeId[] = [];
  #compared = false;
  #nextCompareMs = 0;
  #nextDeadProbeMs = 0;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(deps: Deps) {
    this.#deps = deps;
    const { peers, membership } = deps;
    peers.onCall("route.ping", ({ rows, side }, caller) => {
      this.#hear(rows, caller.id, side);
      return { rows: membership.rowsFor(caller.id), side: membership.side(), life: deps.life() };
    });
    peers.onCall("route.compare", ({ digests }) => {
      const own = membership.table.digests();
      const differing = own.flatMap((digest, part) => (digest === digests[part] ? [] : [part]));
      return { differing, rows: membership.table.rowsOf(new Set(differing)) };
    });
    peers.onCall("route.tell", ({ rows }, caller) => {
      this.#hear(rows, caller.id, undefined);
      return {};
    });
  }

  attach(detector: FailureDetector): void {
    this.#detector = detector;
  }

  start(): void {
    this.#nextDeadProbeMs = this.#deps.clock.monotonicMs() + deadProbeMs;
    this.announce();
    this.#schedule(this.#deps.chance.fraction() * gossipMs);
    this.#compareSome();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** Pings everybody known, at most `announceMax`: after a start or a refutation nobody should wait for a rumour. */
  announce(): void {
    const { membership, background, chance } = this.#deps;
    const others = membership.table
      .rows()
      .filter((row) => row.id !== membership.self.id && row.state !== "left");
    for (const row of shuffled(others, chance).slice(0, announceMax)) {
      background.run("announce", async () => {
        await this.ping({ id: row.id, address: row.peerAddress });
      });
    }
  }

  /** One ping with gossip in both directions. */
  async ping(peer: Peer): Promise<ProbeOutcome> {
    const reply = await this.ask(peer);
    return typeof reply === "string" ? reply : "reached";
  }

  /** As ping(), with the answer. A refusal of the peer (it is another node, or too busy) counts as silence. */
  async ask(peer: Peer): Promise<ReplyOf<"route.ping"> | "unreachable" | "silent"> {
    const { membership, peers } = this.#deps;
    const request = { rows: membership.rowsFor(peer.id), side: membership.side() };
    try {
      const reply = await peers.call(peer, "route.ping", request, probeTimeoutMs);
      if (!this.#stopped) this.#hear(reply.rows, peer.id, reply.side);
      return reply;
    } catch (error) {
      if (error instanceof RingstowError) return "silent";
      if (!(error instanceof TransportError)) throw error;
      return error.failure === "unreachable" ? "unreachable" : "silent";
    }
  }

  /** Compares the whole table with a peer's and evens both out. True when the peer answered. */
  async compare(peer: Peer): Promise<boolean> {
    const { membership, peers } = this.#deps;
    try {
      const digests = membership.table.digests();
      const reply = await peers.call(peer, "route.compare", { digests }, 2 * probeTimeoutMs);
      if (this.#stopped) return true;
      this.#hear(reply.rows, peer.id, undefined);
      const rows = membership.table.rowsOf(new Set(reply.differing));
      if (rows.length > 0) await peers.call(peer, "route.tell", { rows }, 2 * probeTimeoutMs);
      return true;
    } catch (error) {
      if (error instanceof TransportError || error instanceof RingstowError) return false;
      throw error;
    }
  }

  #schedule(delayMs: number): void {
    this.#timer = this.#deps.clock.after(delayMs, () => {
      if (this.#stopped) return;
      this.#period();
      this.#schedule(gossipMs);
    });
  }

  #period(): void {
    const { clock } = this.#deps;
    const now = clock.monotonicMs();
    const next = this.#nextInTurn();
    if (next) this.#detector?.probe(next);
    if (!this.#compared || now >= this.#nextCompareMs) this.#compareSome();
    if (now >= this.#nextDeadProbeMs) {
      this.#nextDeadProbeMs = now + deadProbeMs;
      this.#probeDead();
    }
  }

  #nextInTurn(): NodeId | undefined {
    const { membership, chance } = this.#deps;
    const isNext = (id: NodeId): boolean => {
      const row = membership.table.find(id);
      return row !== undefined && isLive(row) && id !== membership.self.id;
    };
    for (let id = this.#turn.pop(); id !== undefined; id = this.#turn.pop()) {
      if (isNext(id)) return id;
    }
    const ids = membership.table.live().map((row) => row.id);
    this.#turn = shuffled(ids, chance).filter(isNext);
    return this.#turn.pop();
  }

  #compareSome(): void {
    const { membership, clock, chance, background, genesis } = this.#deps;
    this.#nextCompareMs = clock.monotonicMs() + exchangeMs;
    membership.forgetLongDead(genesis);
    const others = membership.table.live().filter((row) => row.id !== membership.self.id);
    const row = shuffled(others, chance)[0];
    if (!row) return;
    background.run("compare", async () => {
      if (await this.compare({ id: row.id, address: row.peerAddress })) this.#compared = true;
    });
  }

  #probeDead(): void {
    const { membership, chance, background } = this.#deps;
    const dead = membership.table.rows().filter((row) => row.state === "dead");
    const row = shuffled(dead, chance)[0];
    if (!row) return;
    background.run("probe dead", async () => {
      const reached = await this.ping({ id: row.id, address: row.peerAddress });
      // It has read in the ping that it counts as dead, and answered with a new incarnation: learn what it knows.
      if (reached === "reached") await this.compare({ id: row.id, address: row.peerAddress });
    });
  }

  #hear(
    wire: ReplyOf<"route.ping">["rows"],
    from: NodeId | undefined,
    side: Side | undefined,
  ): void {
    const { membership, clock } = this.#deps;
    const senderWasLive =
      from !== undefined && isLive(membership.table.find(from) ?? { state: "dead" });
    for (const heard of wire) {
      const row: MemberRow = rowFromWire(heard);
      if (row.id === from) this.#spokenTo.set(from, row.incarnation);
      if (!membership.isNews(row)) continue;
      if (row.id === membership.self.id) this.#hearOfSelf(row, senderWasLive, side);
      else if (row.state === "dead" && this.#knowsBetter(row)) this.#detector?.verifyDeath(row);
      else membership.commit(membership.table.apply(isLive(row) ? stampedAt(row, clock) : row));
      this.#detector?.watch(row.id);
    }
  }

  /** Whether this node spoke to a member that it holds for live and a peer for dead. */
  #knowsBetter(rumour: MemberRow): boolean {
    const known = this.#deps.membership.table.find(rumour.id);
    if (!known || !isLive(known) || known.incarnation > rumour.incarnation) return false;
    return this.#spokenTo.get(rumour.id) === known.incarnation;
  }

  #hearOfSelf(heard: MemberRow, senderWasLive: boolean, side: Side | undefined): void {
    const { membership, onRevived } = this.#deps;
    const before = membership.self.incarnation;
    membership.commit(membership.table.apply(heard));
    if (membership.self.incarnation === before || heard.state !== "dead") return;
    // When the sender, too, was dead for this node, a partition has healed: the side with fewer members yields.
    const own = membership.side();
    const smaller =
      side === undefined ||
      own.live < side.live ||
      (own.live === side.live && own.least > side.least);
    onRevived(senderWasLive || smaller);
    this.announce();
  }

  /** How a joiner that knows nobody gets its table. True when the seed answered. */
  async learnFrom(seed: string): Promise<boolean> {
    const { membership, peers } = this.#deps;
    const peer = { address: seed };
    try {
      await peers.call(peer, "route.tell", { rows: [membership.self] }, probeTimeoutMs);
    } catch (error) {
      if (error instanceof TransportError || error instanceof RingstowError) return false;
      throw error;
    }
    return this.compare(peer);
  }
}

/** A live row begins, for this node, when it hears of it: other nodes' wall clocks may be wrong. */
function stampedAt(row: MemberRow, clock: Clock): MemberRow {
  return { ...row, sinceMs: clock.wallMs() };
}
