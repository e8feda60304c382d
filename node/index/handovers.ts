// Hands the lead of a slice over to the next view while the slice is served: its members join while the leader of the
// previous view goes on, with majorities of both; it stops only when the new view can serve at once.
// Invariants: once a member may be active in the new view, nothing is decided in the previous one without a majority of
// the new one; a leader that has stopped never begins again under its ballot.
import { type VoterId, nodeOfVoter } from "../../shared/ids.ts";
import {
  acceptTimeoutMs,
  callTimeoutMs,
  handoverStepMs,
  namesToldMax,
  servingMs,
} from "../../shared/limits.ts";
import { type ReplyOf, type RequestOf } from "../../shared/protocol.ts";
import { type Slice } from "../../shared/slices.ts";
import { epochOf, makeBallot, voterOf } from "../../shared/versions.ts";
import { type Peers } from "../peers.ts";
import { type Clock, type Log, TransportError } from "../ports.ts";
import { type Route, isLive } from "../route/types.ts";
import { waitAtMost } from "../waiting.ts";
import { type Elections } from "./elections.ts";
import { isExpected } from "./quorum.ts";
import { type Replica } from "./replica.ts";
import { type SliceLeader } from "./slice-leader.ts";
import { type RegisterKey, kindOf } from "./types.ts";
import { type ViewJoiner } from "./view-joiner.ts";
import { type ViewPauses } from "./view-pauses.ts";
import { type ViewReplica } from "./view-replica.ts";
import { type ViewChange, majorityOf } from "./views.ts";

export interface HandoversOptions {
  readonly standings: ViewReplica;
  readonly joiner: Pick<ViewJoiner, "join">;
  readonly replica: Pick<Replica, "inheritedPromise">;
  readonly pauses: Pick<ViewPauses, "began" | "ended">;
  readonly peers: Peers;
  readonly route: Pick<Route, "find" | "peer" | "voter" | "observed">;
  readonly clock: Clock;
  readonly log: Log;
}

export class Handovers {
  readonly #options: HandoversOptions;
  /** Slices whose leader here has stopped, until the next one leads, or this one gave up. */
  readonly #ending = new Map<Slice, Promise<void>>();
  #elections: Pick<Elections, "inherit" | "leaderOf"> | undefined;

  constructor(options: HandoversOptions) {
    this.#options = options;
    const { peers } = options;
    peers.onCall("index.enter", (request) => this.#enter(request));
    peers.onCall("index.join", ({ slice, change }) => this.#join(slice, change));
    peers.onCall("index.lead", (request) => this.#lead(request));
  }

  start(elections: Pick<Elections, "inherit" | "leaderOf">): void {
    this.#elections = elections;
  }

  /** Resolves when it is known who leads a slice after this node's leader; undefined when that one has not stopped. */
  ending(slice: Slice): Promise<void> | undefined {
    return this.#ending.get(slice);
  }

  /** The leader who hands over a slice does not answer: it is served no more here, and the next view begins. */
  abandon(slice: Slice): void {
    this.#options.standings.dismiss(slice);
  }

  /**
   * Hands over to a view that the leader has decided. False when that does not come about: then the change is brought to
   * an end like any other, while the slice stands still. Never rejects.
   */
  async run(leader: SliceLeader, change: ViewChange): Promise<boolean> {
    const { slice } = leader;
    try {
      const active = await this.#prepare(leader, change);
      if (!active) return false;
      const handing = this.#handOver(leader, change, active);
      const ended = handing.then(
        () => undefined,
        () => undefined,
      );
      this.#ending.set(slice, ended);
      void ended.then(() => this.#ending.delete(slice));
      return await handing;
    } catch (error) {
      if (!isExpected(error))
        this.#options.log.warn("Cannot hand over", { slice, error: String(error) });
      return false;
    }
  }

  // ------------------------------------------------------------------ the leader

  /** Lets the members join while the leader goes on. Gives those that are active; undefined when they are too few. */
  async #prepare(leader: SliceLeader, change: ViewChange): Promise<VoterId[] | undefined> {
    const { standings, route } = this.#options;
    const { slice, ballot } = leader;
    const { members } = change.view;
    if (!members.every((member) => isLive(route.find(nodeOfVoter(member))))) return undefined;
    // A leader that leaves is to know of the view before anybody tells it.
    if (!members.includes(route.voter)) await standings.seal(slice, change, ballot);
    const entered = await Promise.all(
      members.map((member) => this.#tellEnter(member, leader, change)),
    );
    if (!entered.every(Boolean) || leader.deposed) return undefined;
    await leader.widen(members);
    const joined = await Promise.all(
      members.map((member) => this.#tellJoin(member, slice, change)),
    );
    const active = members.filter((_, i) => joined[i]);
    const isEnough = active.length >= majorityOf(members.length) && active.includes(members[0]!);
    if (!isEnough) return undefined;
    // No other leader decided anything before a majority was sealed: what this one knows is all there is.
    await leader.confirm();
    return active;
  }

  async #handOver(
    leader: SliceLeader,
    change: ViewChange,
    active: readonly VoterId[],
  ): Promise<boolean> {
    const { standings, pauses } = this.#options;
    const { slice } = leader;
    const { view } = change;
    pauses.began(slice, view.epoch);
    let leads = false;
    try {
      const finished = await leader.finish();
      if (!finished) return false;
      // Who follows a view is of no use in the next one.
      const names = finished.names && [...finished.names].filter(isOfUse);
      const ballot = makeBallot(view.epoch, 1, view.members[0]!);
      const told = names && names.length <= namesToldMax ? names : undefined;
      const request = { slice, ballot, active: [...active], ...(told && { names: told }) };
      ({ leads } = await this.#tellLead(request));
      return leads;
    } finally {
      // Before anybody who waits for the end asks: this node does not lead any more, and shall not take itself for who does.
      if (leads) {
        standings.led(slice, change);
        pauses.ended(slice, view.epoch);
      } else {
        standings.dismiss(slice, leader.ballot);
      }
    }
  }

  async #tellEnter(member: VoterId, { slice, ballot }: SliceLeader, change: ViewChange) {
    const { route, peers } = this.#options;
    const request = { slice, change, leader: ballot };
    if (member === route.voter) return (await this.#enter(request)).serves;
    const reply = await this.#call(member, (peer) =>
      peers.call(peer, "index.enter", request, acceptTimeoutMs),
    );
    return reply?.serves === true;
  }

  async #tellJoin(member: VoterId, slice: Slice, change: ViewChange): Promise<boolean> {
    const { route, peers } = this.#options;
    if (member === route.voter) return (await this.#join(slice, change)).active;
    const reply = await this.#call(member, (peer) =>
      peers.call(peer, "index.join", { slice, change }, handoverStepMs),
    );
    return reply?.active === true;
  }

  async #tellLead(request: RequestOf<"index.lead">): Promise<ReplyOf<"index.lead">> {
    const { route, peers } = this.#options;
    const first = voterOf(request.ballot)!;
    if (first === route.voter) return this.#lead(request);
    const reply = await this.#call(first, (peer) =>
      peers.call(peer, "index.lead", request, callTimeoutMs),
    );
    return reply ?? { leads: false };
  }

  async #call<T>(
    member: VoterId,
    call: (peer: NonNullable<ReturnType<Route["peer"]>>) => Promise<T>,
  ): Promise<T | undefined> {
    const { route } = this.#options;
    const node = nodeOfVoter(member);
    const peer = route.peer(node);
    if (!peer) return undefined;
    try {
      return await call(peer);
    } catch (error) {
      if (error instanceof TransportError) route.observed(node, false);
      if (isExpected(error)) return undefined;
      throw error;
    }
  }

  // ------------------------------------------------------------------ the members

  async #enter({ slice, change, leader }: RequestOf<"index.enter">) {
    const { standings, clock } = this.#options;
    const serves = await standings.enter(slice, change, leader);
    if (serves) clock.after(servingMs, () => standings.dismiss(slice, leader));
    return { serves };
  }

  async #join(slice: Slice, change: ViewChange): Promise<{ active: boolean }> {
    const { standings, joiner, clock } = this.#options;
    if (standings.standing(slice).joining?.view.epoch === change.view.epoch)
      await waitAtMost(clock, handoverStepMs / 2, joiner.join(slice));
    return { active: standings.isActive(slice, change.view.epoch) };
  }

  async #lead(request: RequestOf<"index.lead">): Promise<ReplyOf<"index.lead">> {
    const { slice, ballot, active, names } = request;
    const elections = this.#elections;
    // What the members copied may be more than the leader knew of: values that were never decided, and may be read.
    const own = await this.#options.replica.inheritedPromise(slice, ballot);
    if (own) {
      const { voter } = this.#options.route;
      const named = new Map(active.map((member) => [member, names]));
      if (named.has(voter)) named.set(voter, names && own.keys && [...names, ...own.keys]);
      elections?.inherit(slice, ballot, named);
    }
    const leader = elections?.leaderOf(slice);
    return { leads: leader?.view.epoch === epochOf(ballot) };
  }
}

const isOfUse = (name: string): boolean => kindOf(name as RegisterKey) !== "view";
