// Who leads: campaigns for slices, in batches that share one message a member and one fsync each.
// A node campaigns when it is asked to lead a slice whose leader is gone, and, as its duty, for slices that nobody
// leads and for which it is the first live member.
import { type NodeId, type RequestId, type VoterId, nodeOfVoter } from "../../shared/ids.ts";
import { campaignBatchMax, dutyMs, leaderlessRounds } from "../../shared/limits.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Ballot, epochOf, makeBallot, roundOf, voterOf } from "../../shared/versions.ts";
import { type Clock, type Log, type Timer } from "../ports.ts";
import { type Route, isLive } from "../route/types.ts";
import { type IndexFaults } from "./faults.ts";
import { type Claim, type MemberLink } from "./member-link.ts";
import { NoEffects } from "./no-effects.ts";
import { type Replica } from "./replica.ts";
import { type PrepareReply } from "./replica-replies.ts";
import { SettledCache } from "./settled-cache.ts";
import { SliceLeader, type SliceLeaderOptions } from "./slice-leader.ts";
import { type View, majorityOf } from "./views.ts";

export interface ElectionsOptions {
  readonly replica: Replica;
  readonly link: MemberLink;
  readonly route: Pick<Route, "live" | "find">;
  readonly clock: Clock;
  readonly log: Log;
  readonly newRequestId: () => RequestId;
  readonly slices: number;
  readonly faults?: IndexFaults | undefined;
  readonly onMissed: (slice: Slice, member: VoterId) => void;
  readonly onElected?: ((leader: SliceLeader, election: Election) => void) | undefined;
  readonly onBehind?: SliceLeaderOptions["onBehind"];
  readonly onPassed?: SliceLeaderOptions["onPassed"];
}

export interface Election {
  /** Registers that a majority named; undefined: too many to name. */
  readonly names: ReadonlySet<string> | undefined;
  /** Nobody is known to have led in this view before. */
  readonly first: boolean;
}

/** What callers wait for. */
interface Campaign {
  readonly slice: Slice;
  readonly ended: Promise<void>;
  readonly end: () => void;
}

/** What a majority's promises make a leader of. */
interface Mandate {
  readonly slice: Slice;
  readonly view: View;
  readonly ballot: Ballot;
  /** What each member named; see `Election.names`. */
  readonly promises: ReadonlyMap<VoterId, readonly string[] | undefined>;
  /** Nobody is known to have led in the view before. */
  readonly first: boolean;
}

/** One slice's campaign while its votes come in. */
interface Candidacy extends Mandate {
  readonly campaign: Campaign;
  readonly promises: Map<VoterId, readonly string[] | undefined>;
  /** The ballot is the one that came with the view. */
  readonly inherited: boolean;
  answers: number;
  elected: boolean;
  /** A member that is not active in the view. */
  behind: VoterId | undefined;
}

export class Elections {
  readonly #options: ElectionsOptions;
  readonly #self: VoterId;
  readonly #leaders = new Map<Slice, SliceLeader>();
  /** Campaigns under way, and those that wait for the next batch. */
  readonly #campaigns = new Map<Slice, Campaign>();
  readonly #noEffects: NoEffects;
  readonly #settled = new SettledCache();
  /** Highest round that refused us. */
  readonly #rounds = new Map<Slice, number>();
  /** Looks in a row that found nobody leading, as far as this node's own promise tells. */
  readonly #leaderless = new Map<Slice, number>();
  #waiting: Campaign[] = [];
  #duty: Timer | undefined;
  #stopped = false;

  constructor(options: ElectionsOptions) {
    this.#options = options;
    this.#self = options.link.self;
    this.#noEffects = new NoEffects(options.clock);
  }

  start(): void {
    this.#scheduleDuty();
  }

  stop(): void {
    this.#stopped = true;
    this.#duty?.cancel();
    for (const leader of this.#leaders.values()) leader.depose();
  }

  get voter(): VoterId {
    return this.#self;
  }

  get led(): number {
    return this.#leaders.size;
  }

  slicesLed(): Slice[] {
    return [...this.#leaders.keys()];
  }

  /** This node's leader of a slice, if it still is one. */
  leaderOf(slice: Slice): SliceLeader | undefined {
    const leader = this.#leaders.get(slice);
    if (leader && !this.#options.replica.mayLead(slice, leader.ballot)) leader.depose();
    return this.#leaders.get(slice);
  }

  /** This node's vote in the slice's view is given up: so is the lead. */
  resign(slice: Slice): void {
    this.#leaders.get(slice)?.depose();
    this.#rounds.delete(slice);
  }

  /**
   * Who leads a slice as far as this node's own promise tells; undefined when that node is not there, or nobody is
   * known to have been elected.
   */
  believedLeader(slice: Slice): NodeId | undefined {
    const { replica } = this.#options;
    const serving = replica.serving(slice);
    const voter = voterOf(serving ?? replica.promised(slice));
    if (voter === undefined || (serving === undefined && replica.inherits(slice))) return undefined;
    const node = nodeOfVoter(voter);
    return this.#isLive(node) ? node : undefined;
  }

  /**
   * The member that should campaign: the first live one in the view's order. Where all are leaving, the first of those
   * that left: somebody must lead the slice to hand it over.
   */
  preferred(slice: Slice): NodeId | undefined {
    const { replica, route } = this.#options;
    const members = replica.viewOf(slice).members.map(nodeOfVoter);
    return (
      members.find((node) => this.#isLive(node)) ??
      members.find((node) => route.find(node)?.state === "left")
    );
  }

  /** Tries to become the leader of a slice; resolves when that campaign ended, well or not. */
  campaign(slice: Slice): Promise<void> {
    const under = this.#campaigns.get(slice);
    if (under) return under.ended;
    if (this.#stopped) return Promise.resolve();
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const campaign = { slice, ended, end };
    this.#campaigns.set(slice, campaign);
    this.#waiting.push(campaign);
    // Whoever asks in this turn shares the batch.
    if (this.#waiting.length === 1) void Promise.resolve().then(() => this.#runWaiting());
    return ended;
  }

  /**
   * Leads a new view by the promises that came with it, this folder's own among them. False when those told so far are
   * too few, or this folder has promised another ballot, or led by this one, since.
   */
  inherit(
    slice: Slice,
    ballot: Ballot,
    promises: ReadonlyMap<VoterId, readonly string[] | undefined>,
  ): boolean {
    const view = this.#options.replica.viewOf(slice);
    const given = view.members.filter((member) => promises.has(member));
    if (voterOf(ballot) !== this.#self || !given.includes(this.#self)) return false;
    if (epochOf(ballot) !== view.epoch) return false;
    if (given.length < this.#quorum(view)) return false;
    if (!this.#mayBeElected({ slice, ballot, inherited: true })) return false;
    const named = new Map(given.map((member) => [member, promises.get(member)]));
    this.#lead({ slice, view, ballot, first: true, promises: named });
    return true;
  }

  // ------------------------------------------------------------------ inside

  #isLive(node: NodeId): boolean {
    return isLive(this.#options.route.find(node));
  }

  async #runWaiting(): Promise<void> {
    const all = this.#waiting;
    this.#waiting = [];
    // All at once: a batch ends only when its slowest member has answered or timed out.
    const batches: Promise<void>[] = [];
    for (let at = 0; at < all.length; at += campaignBatchMax) {
      batches.push(this.#runBatch(all.slice(at, at + campaignBatchMax)));
    }
    await Promise.all(batches);
  }

  async #runBatch(campaigns: readonly Campaign[]): Promise<void> {
    const { replica, link, log } = this.#options;
    try {
      const candidacies = campaigns.map((campaign) => this.#candidacyOf(campaign));
      // Our own promise first and durable: after a crash the same ballot is never claimed again.
      const own = candidacies.filter(({ view }) => view.members.includes(this.#self));
      const mine = await replica.prepare(own.map(({ slice, ballot }) => ({ slice, ballot })));
      own.forEach((candidacy, i) => this.#count(candidacy, this.#self, mine[i]));
      const promised = own.filter((candidacy) => candidacy.promises.has(this.#self));
      const others = new Set(promised.flatMap(({ view }) => view.members));
      others.delete(this.#self);
      await Promise.all(
        [...others].map(async (member) => {
          const asked = promised.filter(({ view }) => view.members.includes(member));
          const claims: Claim[] = asked.map(({ slice, ballot }) => ({ slice, ballot }));
          const replies = await link.prepare(member, claims).catch(() => undefined);
          asked.forEach((candidacy, i) => this.#count(candidacy, member, replies?.[i]));
        }),
      );
    } catch (error) {
      log.error("Cannot campaign", { error: String(error) });
    } finally {
      for (const campaign of campaigns) this.#end(campaign);
    }
  }

  #candidacyOf(campaign: Campaign): Candidacy {
    const { replica } = this.#options;
    const { slice } = campaign;
    const view = replica.viewOf(slice);
    const promised = replica.promised(slice);
    const round = Math.max(roundOf(promised), this.#rounds.get(slice) ?? 0) + 1;
    const first = replica.inherits(slice);
    const isOurs = first && voterOf(promised) === this.#self;
    // As good as a new claim, and durable already; unless a member refused it.
    const inherited = isOurs && !this.#rounds.has(slice) ? promised : undefined;
    const ballot = inherited ?? makeBallot(view.epoch, round, this.#self);
    const promises = new Map();
    return {
      slice,
      campaign,
      view,
      ballot,
      first,
      inherited: inherited !== undefined,
      promises,
      answers: 0,
      elected: false,
      behind: undefined,
    };
  }

  /** Counts one member's answer; undefined: none came. */
  #count(candidacy: Candidacy, member: VoterId, reply: PrepareReply | undefined): void {
    const { slice, view, promises } = candidacy;
    candidacy.answers++;
    if (reply?.ok === true) promises.set(member, reply.keys);
    else if (reply?.view && reply.view.epoch > view.epoch) {
      this.#options.onPassed?.(slice, reply.view);
    } else if (reply?.reason === "epoch" && reply.epoch < view.epoch) {
      candidacy.behind = member;
    } else if (reply && epochOf(reply.promised) === view.epoch) {
      this.#rounds.set(slice, Math.max(this.#rounds.get(slice) ?? 0, roundOf(reply.promised)));
    }
    const decided = promises.size >= this.#quorum(view);
    if (decided && !candidacy.elected && this.#mayBeElected(candidacy)) {
      candidacy.elected = true;
      this.#lead(candidacy);
    }
    if (candidacy.elected || candidacy.answers === view.members.length) {
      this.#end(candidacy.campaign);
    }
    this.#tellBehind(candidacy);
  }

  #quorum({ members }: View): number {
    return this.#options.faults?.smallQuorum === true ? 1 : majorityOf(members.length);
  }

  /** A ballot serves for one election; its promises may have come in two ways. */
  #mayBeElected({ slice, ballot, inherited }: Pick<Candidacy, "slice" | "ballot" | "inherited">) {
    const { replica } = this.#options;
    // A leader that hands over may go on, but not be elected again.
    if (!replica.votesIn(slice) || replica.promised(slice) !== ballot) return false;
    return !inherited || replica.inherits(slice);
  }

  /** Who began a change may be gone, and a slice without writes hears of such a member at its elections alone. */
  #tellBehind(candidacy: Candidacy): void {
    const { slice, view, ballot, first, elected, behind, answers } = candidacy;
    // At the first one of a view others may still be on their way into it.
    if (first || behind === undefined) return;
    const isLeader = elected && this.#leaders.get(slice)?.ballot === ballot;
    // Without that member there may be no majority.
    const isInVain = !elected && answers === view.members.length;
    if (isLeader || isInVain) this.#options.onBehind?.(slice, view, behind);
  }

  #lead({ slice, view, ballot, first, promises }: Mandate): void {
    if (this.#stopped) return;
    const { replica, link, clock, faults, log, newRequestId } = this.#options;
    const { onMissed, onBehind, onPassed } = this.#options;
    replica.spendInherited(slice);
    this.#leaders.get(slice)?.depose();
    const lists = [...promises.values()];
    const names = lists.includes(undefined)
      ? undefined
      : new Set(lists.flatMap((list) => list ?? []));
    const leader = new SliceLeader({
      slice,
      ballot,
      members: view.members,
      names,
      link,
      clock,
      log,
      noEffects: this.#noEffects,
      settled: this.#settled,
      newRequestId,
      faults,
      onMissed,
      onBehind,
      onPassed,
      onDeposed: (ended) => {
        if (this.#leaders.get(slice) === ended) this.#leaders.delete(slice);
      },
    });
    this.#leaders.set(slice, leader);
    const campaign = this.#campaigns.get(slice);
    if (campaign) this.#end(campaign); // who waits for it need not wait for all answers
    this.#leaderless.delete(slice);
    this.#rounds.delete(slice);
    this.#options.onElected?.(leader, { names, first });
    if (names) return;
    leader.loadNames().catch((error: unknown) => {
      // New keys then cost a read each: slower, not wrong.
      log.warn("Cannot read the names of a slice", { slice, error: String(error) });
    });
  }

  /** A silent member may answer when the slice's next campaign is under way: that one goes on. */
  #end(campaign: Campaign): void {
    campaign.end();
    if (this.#campaigns.get(campaign.slice) === campaign) this.#campaigns.delete(campaign.slice);
  }

  #scheduleDuty(): void {
    this.#duty = this.#options.clock.after(dutyMs, () => {
      if (this.#stopped) return;
      this.#doDuty();
      this.#scheduleDuty();
    });
  }

  #doDuty(): void {
    const { replica, slices } = this.#options;
    const me = nodeOfVoter(this.#self);
    for (let number = 0; number < slices; number++) {
      const slice = number as Slice;
      if (!replica.votesIn(slice) || this.leaderOf(slice) || this.#campaigns.has(slice)) continue;
      const believed = this.believedLeader(slice);
      if (believed !== undefined && believed !== me) {
        this.#leaderless.delete(slice);
        continue;
      }
      const rounds = (this.#leaderless.get(slice) ?? 0) + 1;
      this.#leaderless.set(slice, rounds);
      // The preferred member may take another for the leader that is none: then it is not waited for.
      if (this.preferred(slice) === me || rounds > leaderlessRounds) void this.campaign(slice);
    }
  }
}
