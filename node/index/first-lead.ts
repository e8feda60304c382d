// The first member of a new view leads it without an election of its own: with the view every member has promised it
// that, and tells it so as soon as it is active; in return it is told who leads. What gets lost is asked for.
// Invariant: a promise is told only once it is durable, and counts only while the first one has promised nothing higher.
import { type VoterId, nodeOfVoter } from "../../shared/ids.ts";
import {
  firstLeadGrowth,
  firstLeadPauseMaxMs,
  firstLeadPauseMs,
  installTimeoutMs,
} from "../../shared/limits.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type RequestOf } from "../../shared/protocol.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Ballot, epochOf, makeBallot, voterOf } from "../../shared/versions.ts";
import { type Peers } from "../peers.ts";
import { type Clock, type Log, TransportError } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { pause, waitAtMost } from "../waiting.ts";
import { type Elections } from "./elections.ts";
import { type Replica } from "./replica.ts";
import { type View } from "./views.ts";

export interface FirstLeadOptions {
  readonly replica: Pick<
    Replica,
    "inherits" | "inheritedPromise" | "promised" | "spendInherited" | "viewOf"
  >;
  readonly elections: Pick<Elections, "campaign" | "inherit" | "leaderOf" | "voter">;
  readonly peers: Peers;
  readonly route: Pick<Route, "peer">;
  readonly clock: Clock;
  readonly log: Log;
}

/** That a member has promised a ballot, as an answer to PREPARE would say it. */
export type ToldPromise = RequestOf<"index.promised">;

/** What members that wait for an answer have promised. */
interface Promises {
  readonly ballot: Ballot;
  /** The registers that each member named. */
  readonly named: Map<VoterId, readonly string[] | undefined>;
  /** They were enough. */
  readonly led: Promise<void>;
  readonly lead: () => void;
}

export class FirstLead {
  readonly #options: FirstLeadOptions;
  /** Of each slice those of the newest ballot; also what is told before this folder is active itself. */
  readonly #promises = new Map<Slice, Promises>();
  #stopped = false;

  constructor(options: FirstLeadOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** This folder has become active in a view. */
  active(slice: Slice, view: View): void {
    this.#untilSomebodyLeads(slice, view).catch((error: unknown) => {
      this.#options.log.error("Cannot begin a view", { slice, error: String(error) });
    });
  }

  /** A member says that it has promised. Answered when this node leads, or cannot by this promise, or after a while. */
  async hear(told: ToldPromise): Promise<{ leads: boolean }> {
    const { slice, ballot, member } = told;
    const promises = this.#isDecided(slice, ballot) ? undefined : this.#promisesOf(slice, ballot);
    if (promises) {
      promises.named.set(member, told.keys);
      this.#leadIfEnough(slice, promises);
      await waitAtMost(this.#options.clock, installTimeoutMs / 2, promises.led);
      promises.named.delete(member);
      if (promises.named.size === 0 && this.#promises.get(slice) === promises)
        this.#promises.delete(slice);
    }
    const leader = this.#options.elections.leaderOf(slice);
    return { leads: leader?.view.epoch === epochOf(ballot) };
  }

  // ------------------------------------------------------------------ inside

  /** The first one asks, if it need be, and the others tell again. Ends for good after a while: then it is a duty. */
  async #untilSomebodyLeads(slice: Slice, { epoch, members }: View): Promise<void> {
    const { elections, clock } = this.#options;
    const ballot = makeBallot(epoch, 1, members[0]!);
    const isFirst = voterOf(ballot) === elections.voter;
    if (isFirst) void this.#tell(slice, ballot);
    for (let ms = firstLeadPauseMs; ms < firstLeadPauseMaxMs; ms *= firstLeadGrowth) {
      if (!isFirst) await this.#tell(slice, ballot);
      if (this.#isDecided(slice, ballot)) return;
      await pause(clock, ms);
      if (this.#stopped || this.#isDecided(slice, ballot)) return;
      if (isFirst) await elections.campaign(slice);
    }
  }

  /** Whether this folder knows of somebody who was elected, under the ballot or a later one, or of a later view. */
  #isDecided(slice: Slice, ballot: Ballot): boolean {
    const { replica } = this.#options;
    const { epoch } = replica.viewOf(slice);
    return epoch > epochOf(ballot) || (epoch === epochOf(ballot) && !replica.inherits(slice));
  }

  /** Tells the first one, which may be this node itself, what this folder has promised. Never rejects. */
  async #tell(slice: Slice, ballot: Ballot): Promise<void> {
    const { replica, elections, log } = this.#options;
    try {
      const promised = await replica.inheritedPromise(slice, ballot);
      if (this.#stopped || !promised) return;
      const told = { slice, ballot, member: elections.voter, keys: promised.keys };
      const { leads } = await this.#send(voterOf(ballot)!, told);
      if (leads && replica.promised(slice) === ballot) replica.spendInherited(slice);
    } catch (error) {
      if (error instanceof TransportError || error instanceof RingstowError) return;
      log.error("Cannot tell a promise", { slice, error: String(error) });
    }
  }

  async #send(first: VoterId, told: ToldPromise): Promise<{ leads: boolean }> {
    const { elections, peers, route } = this.#options;
    if (first === elections.voter) return this.hear(told);
    const peer = route.peer(nodeOfVoter(first));
    return peer ? peers.call(peer, "index.promised", told, installTimeoutMs) : { leads: false };
  }

  /** Undefined when those of a later ballot are here. */
  #promisesOf(slice: Slice, ballot: Ballot): Promises | undefined {
    const known = this.#promises.get(slice);
    if (known && known.ballot >= ballot) return known.ballot === ballot ? known : undefined;
    const { promise: led, resolve: lead } = Promise.withResolvers<void>();
    const promises = { ballot, named: new Map(), led, lead };
    this.#promises.set(slice, promises);
    return promises;
  }

  #leadIfEnough(slice: Slice, { ballot, named, lead }: Promises): void {
    const { replica, elections } = this.#options;
    const isActive = replica.viewOf(slice).epoch === epochOf(ballot);
    if (isActive && elections.inherit(slice, ballot, named)) lead();
  }
}
