// Seals a majority of a view that is over, to learn what was decided in it: everything decided is held by one of them.
import { type VoterId, nodeOfVoter } from "../../shared/ids.ts";
import { callTimeoutMs, sealHedgeMs } from "../../shared/limits.ts";
import { type VersionPage } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Peers } from "../peers.ts";
import { type Clock, type Peer } from "../ports.ts";
import { type Route, isLive } from "../route/types.ts";
import { type IndexFaults } from "./faults.ts";
import { type SealReply } from "./replica-replies.ts";
import { type ToldSources } from "./told-sources.ts";
import { type ViewDirectory } from "./view-directory.ts";
import { type ViewReplica } from "./view-replica.ts";
import { type ViewChange, majorityOf } from "./views.ts";

export interface SealOptions {
  readonly standings: Pick<ViewReplica, "seal" | "source">;
  readonly told: Pick<ToldSources, "listen">;
  readonly directory: Pick<ViewDirectory, "learn">;
  readonly peers: Peers;
  readonly route: Pick<Route, "find" | "voter">;
  readonly clock: Clock;
  readonly faults?: IndexFaults | undefined;
  /** Calls a member's node. Throws TransportError when no answer came. */
  readonly call: <T>(member: VoterId, call: (peer: Peer) => Promise<T>) => Promise<T>;
}

/** Whom to take registers from, and the first page of what it holds, if it told that. */
export interface Source {
  readonly member: VoterId;
  readonly epoch: number;
  readonly page?: VersionPage | undefined;
}

/**
 * Seals a majority of the previous view, this folder included if it is of it: as many as are needed, and all others when
 * one of those refuses or takes long. Undefined when too few answer. One member that was active in the new view already
 * had all of that, and took part in all that came later or missed it. Members that told what they hold are not asked,
 * and those that are asked are told what this folder holds.
 */
export function sealMajority(
  options: SealOptions,
  slice: Slice,
  change: ViewChange,
): Promise<Source[] | undefined> {
  return new Sealing(options, slice, change).run();
}

class Sealing {
  readonly #options: SealOptions;
  readonly #slice: Slice;
  readonly #change: ViewChange;
  readonly #needed: number;
  /** Who was neither asked nor told of itself, the likeliest first. */
  readonly #waiting: Set<VoterId>;
  /** Whose answers are awaited. */
  readonly #asked = new Set<VoterId>();
  readonly #sealed = new Map<VoterId, Source>();
  readonly #empty = new Set<VoterId>();
  /** This folder is of the majority, unless it takes long or refuses: what it holds is not written over unseen. */
  #isOwnDue: boolean;
  #isOver = false;
  readonly #ended = Promise.withResolvers<Source[] | undefined>();

  constructor(options: SealOptions, slice: Slice, change: ViewChange) {
    this.#options = options;
    this.#slice = slice;
    this.#change = change;
    const { members } = change.previous;
    this.#needed = options.faults?.singleSnapshot === true ? 1 : majorityOf(members.length);
    this.#waiting = new Set(inOrder(change, options.route));
    this.#isOwnDue = members.includes(options.route.voter);
  }

  async run(): Promise<Source[] | undefined> {
    const { clock, told } = this.#options;
    const hedge = clock.after(sealHedgeMs, () => this.#hurry());
    const { epoch } = this.#change.view;
    const stopListening = told.listen(this.#slice, epoch, (source) => this.#count(source));
    void this.#begin();
    const sources = await this.#ended.promise;
    hedge.cancel();
    stopListening();
    return sources;
  }

  async #begin(): Promise<void> {
    // First this folder, so that it can tell the others what it holds.
    if (this.#isOwnDue && !this.#isOver) await this.#ask(this.#options.route.voter);
    this.#isOwnDue = false;
    this.#check();
    this.#askNext(Math.max(1, this.#needed - this.#sealed.size - this.#empty.size));
  }

  #hurry(): void {
    this.#isOwnDue = false;
    this.#askNext(this.#waiting.size);
    this.#check();
  }

  #askNext(most: number): void {
    if (this.#isOver) return;
    for (const member of [...this.#waiting].slice(0, most)) {
      if (!this.#waiting.has(member)) continue; // it told of itself just now
      void this.#ask(member).then(() => {
        if (!this.#maySuffice()) this.#askNext(this.#waiting.size);
        this.#check();
      });
    }
  }

  async #ask(member: VoterId): Promise<void> {
    this.#waiting.delete(member);
    this.#asked.add(member);
    try {
      this.#take(member, await this.#seal(member));
    } catch {
      // No answer is one source less.
    }
    this.#asked.delete(member);
  }

  async #seal(member: VoterId): Promise<SealReply> {
    const { standings, peers, route, call } = this.#options;
    const [slice, change] = [this.#slice, this.#change];
    if (member === route.voter) return standings.seal(slice, change);
    const source = standings.source(slice, change, member);
    const request = { slice, change, ...(source && { source }) };
    return call(member, (peer) => peers.call(peer, "index.seal", request, callTimeoutMs));
  }

  #take(member: VoterId, reply: SealReply): void {
    const { view, previous } = this.#change;
    if (!reply.ok) this.#options.directory.learn(this.#slice, reply.view);
    else if (reply.state === "empty") this.#empty.add(member);
    else {
      const { epoch } = reply.state === "joined" ? view : previous;
      this.#count({ member, epoch, page: reply.page });
    }
  }

  #count(source: Source): void {
    this.#waiting.delete(source.member);
    this.#asked.delete(source.member);
    if (source.epoch === this.#change.view.epoch) this.#end([source]);
    else this.#sealed.set(source.member, source);
    this.#check();
  }

  /** Whether those that have answered, and those that still may, are enough. */
  #maySuffice(): boolean {
    const { size } = this.#sealed;
    return size > 0 && size + this.#empty.size + this.#asked.size >= this.#needed;
  }

  #check(): void {
    if (this.#isOwnDue) return;
    const { size } = this.#sealed;
    if (size > 0 && size + this.#empty.size >= this.#needed) this.#end([...this.#sealed.values()]);
    else if (this.#asked.size === 0 && this.#waiting.size === 0) this.#end(undefined);
  }

  #end(sources: Source[] | undefined): void {
    this.#isOver = true;
    this.#ended.resolve(sources);
  }
}

/** Members of both views, the likeliest to answer soon with what is needed first: this folder, then who stays. */
function inOrder({ view, previous }: ViewChange, route: SealOptions["route"]): VoterId[] {
  const rank = (member: VoterId): number => {
    if (member === route.voter) return previous.members.includes(member) ? 0 : 5;
    if (!isLive(route.find(nodeOfVoter(member)))) return 4;
    if (!previous.members.includes(member)) return 3;
    return view.members.includes(member) ? 1 : 2;
  };
  const all = [...new Set([...previous.members, ...view.members])];
  return all.toSorted((a, b) => rank(a) - rank(b));
}
