// Gossip: one member is pinged a period, in random order without repeats (SWIM, section 4.3), changes ride on the pings.
// A starting node greets everybody it knows; the dead are asked now and then whether they live, which is how a healed
// partition is noticed. Both sides of a ping say in which incarnation they are and know the other: who is behind gets
// the row, so that nobody has to carry his own on every ping.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import {
  announceMax,
  deadProbeMs,
  deadProbersMax,
  exchangeMs,
  gossipMs,
  leaveTellMax,
  probeTimeoutMs,
} from "../../shared/limits.ts";
import { type ReplyOf, type RequestOf } from "../../shared/protocol.ts";
import { type Peers } from "../peers.ts";
import {
  type Caller,
  type Chance,
  type Clock,
  type Peer,
  type Timer,
  TransportError,
} from "../ports.ts";
import { type Background } from "./background.ts";
import { type FailureDetector, type ProbeOutcome } from "./failure-detector.ts";
import { type KnownCopies } from "./known-copies.ts";
import { type LocalHealth } from "./local-health.ts";
import { isLive, type MemberRow } from "./member-table.ts";
import {
  rowFromWire,
  rowToWire,
  type Standing,
  standingFromWire,
  type WireRow,
} from "./member-wire.ts";
import { type Membership, type News } from "./membership.ts";
import { randomOrder, randomSome } from "./random-order.ts";
import { type TableExchange } from "./table-exchange.ts";

interface Deps {
  readonly membership: Membership;
  readonly copies: KnownCopies;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly background: Background;
  readonly health: LocalHealth;
  readonly genesis: ReadonlySet<NodeId>;
  /** The incarnation with which this node is in the ring; 0 when it is not. */
  readonly life: () => number;
  /** This node was declared dead and has refuted; `yields`: its side is the one that joins the ring again. */
  readonly onRevived: (yields: boolean) => void;
}

/** Where something that is heard comes from. */
interface Source {
  /** The sender was live for this node. */
  readonly wasLive: boolean;
  readonly side: News["side"];
  readonly isOld: boolean;
}

export class Gossip {
  readonly #deps: Deps;
  /** Set by attach(): the detector needs ping(), the exchange hear(), gossip needs both. */
  #detector: FailureDetector | undefined;
  #exchange: TableExchange | undefined;
  /** Highest incarnation in which each node was spoken to. */
  readonly #spokenTo = new Map<NodeId, number>();
  /** Highest incarnation of this node in which others held it for dead, as far as it heard; at first of lives before. */
  #revivedFrom: number;
  #turn: Iterator<number, undefined> | undefined;
  #compared = false;
  #nextCompareMs = 0;
  #nextDeadProbeMs = 0;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(deps: Deps) {
    this.#deps = deps;
    this.#revivedFrom = deps.membership.self.incarnation - 1;
    deps.peers.onCall("route.ping", (request, caller) => this.#onPing(request, caller));
    deps.peers.onCall("route.tell", (news, caller) => {
      this.hear(news, caller.id);
      return {};
    });
  }

  attach(detector: FailureDetector, exchange: TableExchange): void {
    this.#detector = detector;
    this.#exchange = exchange;
  }

  start(): void {
    const { membership, clock, chance } = this.#deps;
    this.#nextDeadProbeMs = clock.monotonicMs() + this.#deadProbePauseMs();
    membership.spread(membership.self.id);
    this.announce();
    this.#schedule(chance.fraction() * gossipMs);
    this.#compareSome();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** Pings everybody known, at most `announceMax`: after a start or a refutation nobody should wait for a rumour. */
  announce(): void {
    const { background } = this.#deps;
    for (const row of this.#others(announceMax)) {
      background.run("announce", async () => {
        await this.ping({ id: row.id, address: row.peerAddress });
      });
    }
  }

  /** Tells members that this node has left. True when one of them has heard it, or there is nobody. */
  async tellLeft(): Promise<boolean> {
    const { membership, peers } = this.#deps;
    const rows = [rowToWire(membership.self)];
    const live = membership.table.live();
    const told = randomSome(live, leaveTellMax, this.#deps.chance).map(async (row) => {
      const peer = { id: row.id, address: row.peerAddress };
      return succeeds(() => peers.call(peer, "route.tell", { rows }, 2 * probeTimeoutMs));
    });
    return live.length === 0 || (await Promise.all(told)).includes(true);
  }

  /** One ping with gossip in both directions. */
  async ping(peer: Peer, timeoutMs?: number): Promise<ProbeOutcome> {
    const reply = await this.ask(peer, timeoutMs);
    return typeof reply === "string" ? reply : "reached";
  }

  /** As ping(), with the answer. A refusal of the peer (it is another node, or too busy) counts as silence. */
  async ask(
    peer: Peer,
    timeoutMs = probeTimeoutMs * this.#deps.health.factor,
  ): Promise<ReplyOf<"route.ping"> | "unreachable" | "silent"> {
    const { membership, peers, copies } = this.#deps;
    const request = {
      incarnation: membership.self.incarnation,
      known: this.#knownIncarnation(peer.id),
      ...membership.newsFor(peer.id),
      copies: copies.takeNews(),
    };
    try {
      const reply = await peers.call(peer, "route.ping", request, timeoutMs);
      if (this.#stopped) return reply;
      if (peer.id !== undefined) this.#spokenTo.set(peer.id, reply.incarnation);
      this.hear(reply, peer.id);
      if (reply.unknown) this.#introduceTo(peer);
      return reply;
    } catch (error) {
      if (error instanceof RingstowError) return "silent";
      if (!(error instanceof TransportError)) throw error;
      return error.failure === "unreachable" ? "unreachable" : "silent";
    }
  }

  /** How a joiner that knows nobody gets its table. True when the seed answered. */
  async learnFrom(seed: string): Promise<boolean> {
    const peer = { address: seed };
    return (await this.#introduce(peer)) && (await this.#exchange!.compare(peer, { isOld: true }));
  }

  /**
   * Takes in what a peer says.
   * @param from who says it, if that is known
   * @param options isOld: the cluster knows it already, it need not spread from here
   */
  hear(news: News, from: NodeId | undefined, options: { isOld?: boolean } = {}): void {
    const { membership, copies } = this.#deps;
    if (news.copies) copies.learn(news.copies);
    const sender = from && membership.table.find(from);
    const source: Source = {
      wasLive: isLive(sender),
      side: news.side,
      isOld: options.isOld ?? false,
    };
    for (const wire of news.rows ?? []) this.#hearRow(rowFromWire(wire), source);
    for (const wire of news.standings ?? []) {
      const standing = standingFromWire(wire);
      const known = membership.table.find(standing.id);
      // Of a life that is not known yet only a whole row tells; the comparison of tables brings it.
      if (known?.incarnation !== standing.incarnation) continue;
      const { state, sinceMs } = standing;
      this.#hearRow({ ...known, state, sinceMs }, source);
      this.#detector?.watch(standing.id, standing.witnesses);
    }
  }

  // ---------------------------------------------------------------- answers

  #onPing(request: RequestOf<"route.ping">, { id }: Caller): ReplyOf<"route.ping"> {
    const { membership, life, copies } = this.#deps;
    this.hear(request, id);
    if (id !== undefined) this.#spokenTo.set(id, request.incarnation);
    const { incarnation } = membership.self;
    const reply: ReplyOf<"route.ping"> = {
      incarnation,
      life: life(),
      ...membership.newsFor(id, {
        introduce: request.known < incarnation,
        told: idsIn(request),
      }),
    };
    reply.copies = request.copies ? copies.laterThan(request.copies) : copies.takeNews();
    if (id !== undefined && this.#knownIncarnation(id) < request.incarnation) reply.unknown = true;
    return reply;
  }

  /** 0 for a node that was never heard: all that run are in a higher one. */
  #knownIncarnation(id: NodeId | undefined): number {
    return (id && this.#deps.membership.table.find(id)?.incarnation) ?? 0;
  }

  #introduceTo(peer: Peer): void {
    this.#deps.background.run("introduce", async () => {
      await this.#introduce(peer);
    });
  }

  #introduce(peer: Peer): Promise<boolean> {
    const { membership, peers } = this.#deps;
    const rows = [rowToWire(membership.self)];
    return succeeds(() => peers.call(peer, "route.tell", { rows }, probeTimeoutMs));
  }

  // ---------------------------------------------------------------- periods

  #schedule(delayMs: number): void {
    const { clock, health } = this.#deps;
    this.#timer = clock.after(delayMs, () => {
      if (this.#stopped) return;
      this.#period();
      this.#schedule(gossipMs * health.factor);
    });
  }

  #period(): void {
    const now = this.#deps.clock.monotonicMs();
    const next = this.#nextInTurn();
    if (next) this.#detector?.probe(next);
    if (!this.#compared || now >= this.#nextCompareMs) this.#compareSome();
    if (now >= this.#nextDeadProbeMs) {
      this.#nextDeadProbeMs = now + this.#deadProbePauseMs();
      this.#probeDead();
    }
  }

  /** Members come and go within a round of turns: then one may have two of them, or none until the next round. */
  #nextInTurn(): NodeId | undefined {
    const { membership, chance } = this.#deps;
    const { table, self } = membership;
    for (let round = 0; round < 2; round++) {
      this.#turn ??= randomOrder(table.liveCount, chance);
      for (let next = this.#turn.next(); !next.done; next = this.#turn.next()) {
        if (next.value >= table.liveCount) continue;
        const { id } = table.liveAt(next.value);
        if (id !== self.id) return id;
      }
      this.#turn = undefined;
    }
    return undefined;
  }

  #compareSome(): void {
    const { membership, clock, background, genesis } = this.#deps;
    this.#nextCompareMs = clock.monotonicMs() + exchangeMs;
    membership.forgetLongDead(genesis);
    for (const id of this.#spokenTo.keys())
      if (!membership.table.find(id)) this.#spokenTo.delete(id);
    const row = this.#others(1)[0];
    if (!row) return;
    background.run("compare", async () => {
      const peer = { id: row.id, address: row.peerAddress };
      // What a node missed while it was down is no news to the others.
      if (await this.#exchange!.compare(peer, { isOld: !this.#compared })) this.#compared = true;
    });
  }

  /** The cluster as a whole probes the dead at the same rate however many nodes it has. */
  #deadProbePauseMs(): number {
    const { membership, chance } = this.#deps;
    const share = Math.max(1, membership.table.liveCount / deadProbersMax);
    return deadProbeMs * share * (0.5 + chance.fraction());
  }

  #probeDead(): void {
    const { membership, chance, background } = this.#deps;
    const dead = membership.table.gone().filter((row) => row.state === "dead");
    const row = randomSome(dead, 1, chance)[0];
    if (!row) return;
    background.run("probe dead", async () => {
      const peer = { id: row.id, address: row.peerAddress };
      // It has read in the ping that it counts as dead, and answered with a new incarnation: learn what it knows.
      if ((await this.ping(peer)) === "reached") await this.#exchange!.compare(peer);
    });
  }

  /** Other live members at random. */
  #others(most: number): MemberRow[] {
    const { membership, chance } = this.#deps;
    const { table, self } = membership;
    const chosen: MemberRow[] = [];
    for (const index of randomOrder(table.liveCount, chance)) {
      if (chosen.length === most) break;
      const row = table.liveAt(index);
      if (row.id !== self.id) chosen.push(row);
    }
    return chosen;
  }

  // ---------------------------------------------------------------- what is heard

  #hearRow(row: MemberRow, source: Source): void {
    const { membership, clock } = this.#deps;
    if (!membership.isNews(row)) return;
    if (row.id === membership.self.id) this.#hearOfSelf(row, source);
    else if (row.state === "dead" && this.#knowsBetter(row)) this.#detector?.verifyDeath(row);
    else {
      const change = membership.table.apply(isLive(row) ? stampedAt(row, clock) : row);
      membership.commit(change, source);
    }
    this.#detector?.watch(row.id, []);
  }

  /**
   * Whether this node spoke to a member that a peer holds for dead and nobody here suspects. A true death was suspected
   * before, for longer than the news of that needs: then the rumour is believed, and nobody dials the dead to ask.
   */
  #knowsBetter(rumour: MemberRow): boolean {
    const known = this.#deps.membership.table.find(rumour.id);
    if (known?.state !== "alive" || known.incarnation > rumour.incarnation) return false;
    return this.#spokenTo.get(rumour.id) === known.incarnation;
  }

  #hearOfSelf(heard: MemberRow, { wasLive, side }: Source): void {
    const { membership, health, onRevived } = this.#deps;
    const before = membership.self.incarnation;
    membership.commit(membership.table.apply(heard));
    const refuted = membership.self.incarnation !== before;
    if (refuted && (heard.state === "suspect" || heard.state === "dead")) health.worsen();
    // A death may be heard of late, when a suspicion of the same incarnation was refuted: it was one all the same.
    if (heard.state !== "dead" || membership.hasLeft || heard.incarnation <= this.#revivedFrom)
      return;
    this.#revivedFrom = heard.incarnation;
    // When the sender, too, was dead for this node, a partition has healed: the side with fewer members yields.
    onRevived(wasLive || side === undefined || membership.yieldsTo(side));
    this.announce();
  }
}

/** A live row begins, for this node, when it hears of it: other nodes' wall clocks may be wrong. */
function stampedAt(row: MemberRow, clock: Clock): MemberRow {
  return { ...row, sinceMs: clock.wallMs() };
}

function idsIn(news: News): Set<NodeId> | undefined {
  if (!news.rows && !news.standings) return undefined;
  const rows: Pick<Standing, "id">[] = (news.rows ?? []).map((wire: WireRow) => rowFromWire(wire));
  const standings = (news.standings ?? []).map((wire) => standingFromWire(wire));
  return new Set([...rows, ...standings].map(({ id }) => id));
}

/** Whether a call was answered; what else fails is a fault. */
async function succeeds(call: () => Promise<unknown>): Promise<boolean> {
  try {
    await call();
    return true;
  } catch (error) {
    if (error instanceof TransportError || error instanceof RingstowError) return false;
    throw error;
  }
}
