// What only a slice's leader may do, asked of this node: done when it leads the slice or becomes its leader; else it
// says who may be asked instead.
import { type NodeId } from "../../shared/ids.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Elections } from "./elections.ts";
import { type LeaderReply } from "./executor.ts";
import { type Handovers } from "./handovers.ts";
import { NotLeader } from "./quorum.ts";
import { type Replica } from "./replica.ts";
import { type SliceLeader } from "./slice-leader.ts";
import { type ViewDirectory } from "./view-directory.ts";

export interface OwnLeadOptions {
  readonly self: NodeId;
  readonly replica: Pick<Replica, "votesIn" | "serving">;
  readonly elections: Elections;
  readonly views: Pick<ViewDirectory, "viewOf">;
  readonly handovers: Pick<Handovers, "abandon" | "ending">;
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
    const { self, replica, elections, views, handovers } = this.#options;
    // The next one to lead is known in a moment.
    const ending = handovers.ending(slice);
    if (ending) await ending;
    let leader = elections.leaderOf(slice);
    if (!leader) {
      // The leader who hands over may be gone: then the next view begins without its word.
      if (urge) handovers.abandon(slice);
      if (!replica.votesIn(slice)) {
        const serving =
          replica.serving(slice) === undefined ? undefined : elections.believedLeader(slice);
        // As long as that one leads, nobody else need be looked for.
        return serving !== undefined && serving !== self
          ? { type: "notLeader", leader: serving }
          : { type: "notLeader", view: views.viewOf(slice) };
      }
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
