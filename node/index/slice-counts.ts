// What a node's status says of the slices that it holds and leads.
import { type Slice } from "../../shared/slices.ts";
import { type Route, copiesWanted, nodesOf } from "../route/types.ts";
import { type ChainCensus } from "./chain-census.ts";
import { type Elections } from "./elections.ts";
import { type SliceCount } from "./types.ts";
import { viewSize } from "./views.ts";

export interface SliceCountsDeps {
  readonly census: Pick<ChainCensus, "chains" | "replication">;
  readonly elections: Pick<Elections, "leaderOf">;
  readonly route: Pick<Route, "live" | "members" | "copies">;
}

type Counts = Omit<SliceCount, "slicesLed" | "repairing" | "views"> & {
  readonly toResize: number;
};

/** @param held slices in which the node votes */
export async function countSlices(
  { census, elections, route }: SliceCountsDeps,
  held: Iterable<Slice>,
): Promise<Counts> {
  const live = new Set(route.live().map(({ id }) => id));
  const copies = copiesWanted(route);
  const voters = viewSize(route.copies().copies, nodesOf(route));
  const counts = { chains: 0, slicesHeld: 0, underReplicated: 0, overReplicated: 0, toResize: 0 };
  for (const slice of held) {
    counts.slicesHeld++;
    counts.chains += await census.chains(slice);
    const leader = elections.leaderOf(slice);
    if (!leader) continue;
    if (leader.members.length !== voters) counts.toResize++;
    const { under, over } = await census.replication(slice, { copies, live });
    counts.underReplicated += under;
    counts.overReplicated += over;
  }
  return counts;
}
