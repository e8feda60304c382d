// The first member of a new view leads it without an election of its own: with the view every member has promised it that,
// and says so as soon as it is active; it is told in return who leads. What is lost on the way is asked for.
// Invariant: a promise is told only once it is durable, and counts only while the first one has promised nothing higher.
import { type VoterId, nodeOfVoter } from "../../shared/ids.ts";
import {
  firstLeadGrowth,
  firstLeadPauseMaxMs,
  firstLeadPauseMs,
  installTimeoutMs,
} from "../../shared/limits.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Ballot, epochOf, makeBallot } from "../../shared/versions.ts";
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
export interface TellPromise {
  readonly slice: Slice;
  readonly ballot: Ballot;
  readonly member: VoterId;
  /** Every register of the slice; absent when there are too many to name. */
  readonly keys?: readonly string[] | undefined;
}

/** Promises of one ballot -> the registers that each member named. */
interface Told {
  readonly ballot: Ballot;
  readonly promises: Map<VoterId, readonly string[] | undefined>;
  /** They were enough. */
  readonly led: Promise<void>;
  readonly lead: () => void;
}

export class FirstLead {
  readonly #options: FirstLeadOptions;
  /** Of each slice the newest ballot. Also what was told before this folder is active itself. */
  readonly #told = new Map<Slice, Told>();
  #stopped = false;

  constructor(options: FirstLeadOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** This folder has become active in a view. */
  active(slice: Slice, view: View): void {
    const isFirst = view.members[0] === this.#options.elections.voter;
    const work = [this.#promise(slice, view), ...(isFirst ? [this.#askLater(slice, view)] : [])];
    Promise.all(work).catch((error: unknown) => {
      // The first one asks for what it was not told.
      if (error instanceof TransportError || error instanceof RingstowError) return;
      this.#options.log.error("Cannot begin a view", { slice, error: String(error) });
    });
  }

  /** A member says that it has promised. Answered when this node leads by such promises, or after a while. */
  async hear(promise: TellPromise): Promise<{ leads: boolean }> {
    const { slice, ballot } = promise;
    const led = this.#take(promise);
    if (led) await waitAtMost(this.#options.clock, installTimeoutMs / 2, led);
    return { leads: this.#options.elections.leaderOf(slice)?.ballot === ballot };
  }

  // ------------------------------------------------------------------ inside

  /** Gives what ends when the promises of the ballot are enough; undefined when they are not needed any more. */
  #take({ slice, ballot, member, keys }: TellPromise): Promise<void> | undefined {
    const { replica, elections } = this.#options;
    if (this.#isDecided(slice, ballot)) {
      this.#told.delete(slice);
      return undefined;
    }
    let told = this.#told.get(slice);
    if (!told || told.ballot < ballot) {
      const { promise: led, resolve: lead } = Promise.withResolvers<void>();
      told = { ballot, promises: new Map(), led, lead };
      this.#told.set(slice, told);
    }
    if (told.ballot !== ballot) return undefined;
    told.promises.set(member, keys);
    const isActive = replica.viewOf(slice).epoch === epochOf(ballot);
    if (isActive && elections.inherit(slice, ballot, told.promises)) {
      told.lead();
      this.#told.delete(slice);
    }
    return told.led;
  }

  /** Whether this folder is past a ballot: somebody was elected, or a later view is there. */
  #isDecided(slice: Slice, ballot: Ballot): boolean {
    const { replica } = this.#options;
    const { epoch } = replica.viewOf(slice);
    return epoch > epochOf(ballot) || (epoch === epochOf(ballot) && !replica.inherits(slice));
  }

  async #promise(slice: Slice, { epoch, members }: View): Promise<void> {
    const { replica, elections, peers, route } = this.#options;
    const [first] = members;
    const ballot = makeBallot(epoch, 1, first!);
    const promised = await replica.inheritedPromise(slice, ballot);
    if (this.#stopped || !promised) return; // somebody else was elected meanwhile
    const promise = { slice, ballot, member: elections.voter, keys: promised.keys };
    if (first === elections.voter) return void this.#take(promise);
    const peer = route.peer(nodeOfVoter(first!));
    if (!peer) return;
    const { leads } = await peers.call(peer, "index.promised", promise, installTimeoutMs);
    // Else it goes on to look for a leader.
    if (leads && replica.promised(slice) === ballot) replica.spendInherited(slice);
  }

  /** Asks for the promises, until somebody leads. */
  async #askLater(slice: Slice, { epoch }: View): Promise<void> {
    const { replica, elections, clock } = this.#options;
    for (let ms = firstLeadPauseMs; ms < firstLeadPauseMaxMs; ms *= firstLeadGrowth) {
      await pause(clock, ms);
      if (this.#stopped || !replica.inherits(slice)) return;
      if (replica.viewOf(slice).epoch !== epoch) return;
      await elections.campaign(slice);
    }
  }
}
