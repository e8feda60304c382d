// Seals a majority of a view that is over, to learn what was decided in it: everything decided is held by one of them.
import { type VoterId, nodeOfVoter } from "../../shared/ids.ts";
import { callTimeoutMs, sealHedgeMs } from "../../shared/limits.ts";
import { type VersionPage } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Peers } from "../peers.ts";
import { type Clock, type Peer, type Timer } from "../ports.ts";
import { type Route, isLive } from "../route/types.ts";
import { type IndexFaults } from "./faults.ts";
import { type SealReply } from "./replica-replies.ts";
import { type ViewDirectory } from "./view-directory.ts";
import { type ViewReplica } from "./view-replica.ts";
import { type ViewChange, majorityOf } from "./views.ts";

export interface SealOptions {
  readonly standings: Pick<ViewReplica, "seal" | "serving">;
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
 * had all of that, and took part in all that came later or missed it. None are needed where nobody is left of it.
 * @param outlived told of a member that is active in a later view
 */
export function sealMajority(
  options: SealOptions,
  slice: Slice,
  change: ViewChange,
  outlived?: () => void,
): Promise<Source[] | undefined> {
  const { directory, clock, faults } = options;
  const { view, previous } = change;
  if (previous.members.length === 0) return Promise.resolve([]);
  const waiting = inOrder(change, options.route);
  const needed = faults?.singleSnapshot === true ? 1 : majorityOf(previous.members.length);
  const sealed: Source[] = [];
  const { promise, resolve } = Promise.withResolvers<Source[] | undefined>();
  const end = (sources?: Source[]): void => {
    isEnough = true;
    hedge?.cancel();
    resolve(sources);
  };
  let empty = 0;
  let asked = 0;
  let isEnough = false;
  let hedge: Timer | undefined;

  const take = (member: VoterId, reply: SealReply): void => {
    if (!reply.ok) {
      directory.learn(slice, reply.view);
      if (reply.epoch > view.epoch) outlived?.();
      return;
    }
    const { state, page } = reply;
    if (state === "joined") end([{ member, epoch: view.epoch, page }]);
    else if (state === "sealed") sealed.push({ member, epoch: previous.epoch, page });
    else empty++;
    if (sealed.length > 0 && sealed.length + empty >= needed) end([...sealed]);
  };
  const ask = async (member: VoterId): Promise<void> => {
    try {
      take(member, await seal(options, slice, change, member));
    } catch {
      // No answer is one source less.
    }
    asked--;
    const maySuffice = sealed.length > 0 && sealed.length + empty + asked >= needed;
    if (!isEnough && !maySuffice) askNext(waiting.length);
    if (asked === 0) end();
  };
  const askNext = (count: number): void => {
    const next = waiting.splice(0, count);
    asked += next.length;
    for (const member of next) void ask(member);
  };

  askNext(needed);
  hedge = clock.after(sealHedgeMs, () => askNext(waiting.length));
  return promise;
}

async function seal(
  { standings, peers, route, call }: SealOptions,
  slice: Slice,
  change: ViewChange,
  member: VoterId,
): Promise<SealReply> {
  const leader = standings.serving(slice);
  if (member === route.voter) return standings.seal(slice, change, leader);
  const request = { slice, change, ...(leader !== undefined && { leader }) };
  return call(member, (peer) => peers.call(peer, "index.seal", request, callTimeoutMs));
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
