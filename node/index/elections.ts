// Who leads: campaigns for slices, in batches that share one message a member and one fsync each.
// A node campaigns when it is asked to lead a slice whose leader is gone, and, as its duty, for slices that nobody
// leads and for which it is the first live member.
import { type NodeId, type RequestId, type VoterId, nodeOfVoter } from "../../shared/ids.ts";
import { campaignBatchMax, dutyMs } from "../../shared/limits.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Ballot, epochOf, makeBallot, roundOf, voterOf } from "../../shared/versions.ts";
import { type Clock, type Log, type Timer } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { type IndexFaults } from "./faults.ts";
import { type Claim, type MemberLink } from "./member-link.ts";
import { NoEffects } from "./no-effects.ts";
import { type Replica } from "./replica.ts";
import { type PrepareReply } from "./replica-replies.ts";
import { SettledCache } from "./settled-cache.ts";
import { SliceLeader } from "./slice-leader.ts";
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
}

/** What callers wait for. */
interface Campaign {
  readonly slice: Slice;
  readonly ended: Promise<void>;
  readonly end: () => void;
}

/** One slice's campaign while its votes come in. */
interface Candidacy {
  readonly slice: Slice;
  readonly campaign: Campaign;
  readonly view: View;
  readonly ballot: Ballot;
  readonly promises: Map<VoterId, readonly string[] | undefined>;
  answers: number;
  elected: boolean;
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

  get led(): number {
    return this.#leaders.size;
  }

  slicesLed(): Slice[] {
    return [...this.#leaders.keys()];
  }

  /** This node's leader of a slice, if it still is one. */
  leaderOf(slice: Slice): SliceLeader | undefined {
    const leader = this.#leaders.get(slice);
    if (leader && this.#options.replica.promised(slice) !== leader.ballot) leader.depose();
    return this.#leaders.get(slice);
  }

  /** Who leads a slice as far as this node's own promise tells; undefined when that node is not there. */
  believedLeader(slice: Slice): NodeId | undefined {
    const voter = voterOf(this.#options.replica.promised(slice));
    if (voter === undefined) return undefined;
    const node = nodeOfVoter(voter);
    return this.#isLive(node) ? node : undefined;
  }

  /** The member that should campaign: the first live one in the view's order. */
  preferred(slice: Slice): NodeId | undefined {
    return this.#options.replica
      .viewOf(slice)
      .members.map(nodeOfVoter)
      .find((node) => this.#isLive(node));
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

  // ------------------------------------------------------------------ inside

  #isLive(node: NodeId): boolean {
    const state = this.#options.route.find(node)?.state;
    return state === "alive" || state === "suspect";
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
    const round = Math.max(roundOf(replica.promised(slice)), this.#rounds.get(slice) ?? 0) + 1;
    const ballot = makeBallot(view.epoch, round, this.#self);
    return { slice, campaign, view, ballot, promises: new Map(), answers: 0, elected: false };
  }

  /** Counts one member's answer; undefined: none came. */
  #count(candidacy: Candidacy, member: VoterId, reply: PrepareReply | undefined): void {
    const { slice, view, ballot, promises } = candidacy;
    candidacy.answers++;
    if (reply?.ok === true) promises.set(member, reply.keys);
    else if (reply && epochOf(reply.promised) === view.epoch) {
      this.#rounds.set(slice, Math.max(this.#rounds.get(slice) ?? 0, roundOf(reply.promised)));
    }
    const quorum = this.#options.faults?.smallQuorum === true ? 1 : majorityOf(view.members.length);
    const decided = promises.size >= quorum;
    if (decided && !candidacy.elected && this.#options.replica.promised(slice) === ballot) {
      candidacy.elected = true;
      this.#lead(candidacy);
    }
    if (candidacy.elected || candidacy.answers === view.members.length) {
      this.#end(candidacy.campaign);
    }
  }

  #lead({ slice, view, ballot, promises }: Candidacy): void {
    if (this.#stopped) return;
    const { link, clock, faults, onMissed, log, newRequestId } = this.#options;
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
      onDeposed: (ended) => {
        if (this.#leaders.get(slice) === ended) this.#leaders.delete(slice);
      },
    });
    this.#leaders.set(slice, leader);
    this.#rounds.delete(slice);
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
      if ((believed === undefined || believed === me) && this.preferred(slice) === me) {
        void this.campaign(slice);
      }
    }
  }
}
