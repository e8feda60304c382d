// Where the copies of a new block go: a pure choice over the member table.
// Invariant: no node twice, none of `exclude`; a node of `avoid` only when the rest is fewer than `enough`.
import { type NodeId } from "../../shared/ids.ts";
import { type Chance } from "../ports.ts";
import { type Member } from "../route/types.ts";
import { hasRoom } from "./types.ts";

export interface PlacementRequest {
  /** Live members. */
  readonly members: readonly Member[];
  /** Copies wanted. */
  readonly count: number;
  /** Fewest copies that are of use: below that, nodes of `avoid` are taken too. */
  readonly enough: number;
  /** Comes first if it is eligible and has room. */
  readonly first?: NodeId | undefined;
  readonly exclude: ReadonlySet<NodeId>;
  /** Zones that hold a copy already. */
  readonly zonesUsed?: ReadonlySet<string> | undefined;
  avoid(id: NodeId): boolean;
  /** Uploads to that node under way here. */
  inFlight(id: NodeId): number;
}

interface Ranked {
  readonly member: Member;
  /** 0 alive with room, 1 suspect, 2 no room. */
  readonly rank: number;
  /** Weighted at random by free space over load: the largest goes first. */
  readonly key: number;
}

/** At most `count` members, in the order of the pipeline. */
export function choosePlaces(request: PlacementRequest, chance: Chance): Member[] {
  const eligible = request.members.filter((member) => !request.exclude.has(member.id));
  const trusted = eligible.filter((member) => !request.avoid(member.id));
  const missing = Math.min(request.enough, request.count) - trusted.length;
  const doubtful = eligible.filter((member) => request.avoid(member.id));
  const candidates = [
    ...pick(trusted, request.count, request, chance),
    ...(missing > 0 ? pick(doubtful, missing, request, chance) : []),
  ];
  return candidates;
}

function pick(
  members: readonly Member[],
  count: number,
  request: PlacementRequest,
  chance: Chance,
): Member[] {
  const left = members.map((member) => rank(member, request, chance));
  const zones = new Set(request.zonesUsed);
  const chosen: Member[] = [];
  const take = (index: number): void => {
    const { member } = left.splice(index, 1)[0]!;
    chosen.push(member);
    zones.add(member.zone);
  };
  const bestRank = Math.min(...left.map((entry) => entry.rank));
  const own = left.findIndex((entry) => entry.member.id === request.first);
  if (own >= 0 && count > 0 && (left[own]!.rank < 2 || bestRank === 2)) take(own);
  while (chosen.length < count && left.length > 0) {
    let best = 0;
    for (let i = 1; i < left.length; i++) if (before(left[i]!, left[best]!, zones)) best = i;
    take(best);
  }
  return chosen;
}

function rank(member: Member, request: PlacementRequest, chance: Chance): Ranked {
  // Weighted sampling (Efraimidis and Spirakis 2006): the largest u^(1/weight). Always taking the emptiest node
  // would send all uploads of all coordinators to the same one.
  const freeGiB = Math.max(1, member.freeBytes / 2 ** 30);
  const weight = freeGiB / (1 + request.inFlight(member.id));
  const roomy = hasRoom(member);
  return {
    member,
    rank: !roomy ? 2 : member.state === "alive" ? 0 : 1,
    key: Math.log(Math.max(chance.fraction(), Number.MIN_VALUE)) / weight,
  };
}

function before(a: Ranked, b: Ranked, zones: ReadonlySet<string>): boolean {
  if (a.rank !== b.rank) return a.rank < b.rank;
  const aNew = !zones.has(a.member.zone);
  const bNew = !zones.has(b.member.zone);
  if (aNew !== bNew) return aNew;
  return a.key > b.key;
}
