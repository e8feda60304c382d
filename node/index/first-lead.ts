// The first member of a new view leads it without an election of its own: with the view every member has promised it that,
// and says so as soon as it is active. What is lost on the way is asked for.
// Invariant: a promise is told only while it stands, and counts only while the first one has promised nothing higher.
import { type VoterId, nodeOfVoter } from "../../shared/ids.ts";
import {
  callTimeoutMs,
  firstLeadGrowth,
  firstLeadPauseMaxMs,
  firstLeadPauseMs,
} from "../../shared/limits.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Ballot, epochOf, makeBallot } from "../../shared/versions.ts";
import { type Peers } from "../peers.ts";
import { type Clock, type Log, TransportError } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { pause } from "../waiting.ts";
import { type Elections } from "./elections.ts";
import { type Replica } from "./replica.ts";
import { type View } from "./views.ts";

export interface FirstLeadOptions {
  readonly replica: Pick<Replica, "inherits" | "prepare" | "viewOf">;
  readonly elections: Pick<Elections, "campaign" | "inherit" | "voter">;
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

  /** A member says that it has promised. */
  hear({ slice, ballot, member, keys }: TellPromise): void {
    const { replica, elections } = this.#options;
    if (this.#isDecided(slice, ballot)) return void this.#told.delete(slice);
    let told = this.#told.get(slice);
    if (!told || told.ballot < ballot) {
      told = { ballot, promises: new Map() };
      this.#told.set(slice, told);
    }
    if (told.ballot !== ballot) return;
    told.promises.set(member, keys);
    if (replica.viewOf(slice).epoch !== epochOf(ballot)) return;
    if (elections.inherit(slice, ballot, told.promises)) this.#told.delete(slice);
  }

  // ------------------------------------------------------------------ inside

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
    const [reply] = await replica.prepare([{ slice, ballot }]);
    if (this.#stopped || !reply?.ok) return; // somebody else was elected meanwhile
    const promise = { slice, ballot, member: elections.voter, keys: reply.keys };
    if (first === elections.voter) return this.hear(promise);
    const peer = route.peer(nodeOfVoter(first!));
    if (peer) await peers.call(peer, "index.promised", promise, callTimeoutMs);
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
