// What only a slice's leader may do, asked of this node: done when it leads the slice or becomes its leader; else it
// says who may be asked instead.
import { type NodeId } from "../../shared/ids.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Elections } from "./elections.ts";
import { type LeaderReply } from "./executor.ts";
import { NotLeader } from "./quorum.ts";
import { type Replica } from "./replica.ts";
import { type SliceLeader } from "./slice-leader.ts";
import { type ViewDirectory } from "./view-directory.ts";

export interface OwnLeadOptions {
  readonly self: NodeId;
  readonly replica: Pick<Replica, "votesIn">;
  readonly elections: Elections;
  readonly views: Pick<ViewDirectory, "viewOf">;
}

export class OwnLead {
  readonly #options: OwnLeadOptions;

  constructor(options: OwnLeadOptions) {
    this.#options = options;
  }

  /** Whether this node leads a slice. */
  of(slice: Slice): LeaderReply<object> {
    const { elections, views } = this.#options;
    if (elections.leaderOf(slice)) return { type: "done" };
    return { type: "notLeader", view: views.viewOf(slice) };
  }

  /**
   * Runs work on this node's leader of a slice, campaigning first when nobody else leads it (or `urge` says that the
   * one who does is not answering).
   */
  async run<T>(
    slice: Slice,
    urge: boolean,
    work: (leader: SliceLeader) => Promise<T>,
  ): Promise<LeaderReply<T>> {
    const { self, replica, elections, views } = this.#options;
    if (!replica.votesIn(slice)) return { type: "notLeader", view: views.viewOf(slice) };
    let leader = elections.leaderOf(slice);
    if (!leader) {
      const other = elections.believedLeader(slice) ?? elections.preferred(slice);
      if (!urge && other !== undefined && other !== self)
        return { type: "notLeader", leader: other };
      await elections.campaign(slice);
      leader = elections.leaderOf(slice);
      if (!leader) {
        const winner = elections.believedLeader(slice);
        return winner === self ? { type: "notLeader" } : { type: "notLeader", leader: winner };
      }
    }
    try {
      return { type: "done", ...(await work(leader)) };
    } catch (error) {
      if (error instanceof NotLeader) return { type: "notLeader" };
      throw error;
    }
  }
}
