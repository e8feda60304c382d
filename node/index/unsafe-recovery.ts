// What an operator may order when a majority of a slice's view is lost for good: the members that are left go on by
// themselves, from the newest that any of them holds. Writes that only the lost ones had are gone, and if they were
// not lost after all, there were two truths for a while: nothing here can know. So it is never done by itself.
import { type NodeId, type VoterId, nodeOfVoter } from "../../shared/ids.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Log } from "../ports.ts";
import { type ViewDirectory } from "./view-directory.ts";
import { type ViewReplica } from "./view-replica.ts";
import { type ViewSettler } from "./view-settler.ts";
import { type ViewChange, majorityOf } from "./views.ts";

/** Above every epoch that the lost members may have decided and nobody else knows. */
const EPOCHS_SKIPPED = 1 << 16;

/** The change that recovers a view; undefined when it needs none, or when this folder is not the one to do it. */
export function recoveryOf(
  standings: Pick<ViewReplica, "standing">,
  directory: Pick<ViewDirectory, "viewOf">,
  self: VoterId,
  slice: Slice,
  lost: ReadonlySet<NodeId>,
): ViewChange | undefined {
  const { view, mode } = standings.standing(slice);
  if (directory.viewOf(slice).epoch > view.epoch) return undefined;
  const left = view.members.filter((voter) => !lost.has(nodeOfVoter(voter)));
  const isLost = left.length < majorityOf(view.members.length);
  if (mode !== "active" || !isLost || left[0] !== self) return undefined;
  return {
    view: { epoch: view.epoch + EPOCHS_SKIPPED, members: [self] },
    previous: { epoch: view.epoch, members: left },
  };
}

/**
 * Recovers every slice that this folder is the first left of. Gives how many that are. What the directory knows of later
 * views is not recovered: this folder has only not heard yet that it left.
 */
export function recover(
  options: {
    standings: ViewReplica;
    directory: ViewDirectory;
    settler: ViewSettler;
    self: VoterId;
    log: Log;
  },
  slices: number,
  lost: ReadonlySet<NodeId>,
): number {
  const { standings, directory, settler, self, log } = options;
  let recovered = 0;
  for (let number = 0; number < slices; number++) {
    const slice = number as Slice;
    const change = recoveryOf(standings, directory, self, slice, lost);
    if (!change) continue;
    recovered++;
    log.error("A view goes on without its majority, by an operator's order: writes may be lost", {
      slice,
      epoch: change.view.epoch,
      lost: [...lost],
      previous: change.previous.members,
    });
    void settler.settle(slice, change);
  }
  return recovered;
}
