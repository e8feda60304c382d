// Asks the owners of staged blocks whose lease ended: "referenced" keeps the block, "disowned" deletes it.
// A block is deleted only after its register wrote down that it will never name it: a commit that comes later fails.
import { RingstowError } from "../../shared/errors.ts";
import { type BlockId } from "../../shared/ids.ts";
import { sweepPageRows } from "../../shared/limits.ts";
import { type RegisterAddress } from "../index/types.ts";
import { type BlockFiles, type Clock, type Log } from "../ports.ts";
import { type OwnCopies } from "./own-copies.ts";
import { type StagedBlock, type StagedBlocks } from "./staged.ts";
import { reasonOf } from "./within.ts";

/** What registers say of blocks; compose asks the index. */
export interface BlockOwners {
  /** Whether the register lists this node's copy of a block as a replaced one, to be deleted. Linearizable. */
  isFormer(owner: RegisterAddress, block: BlockId): Promise<boolean>;
  disown(owner: RegisterAddress, block: BlockId): Promise<"referenced" | "disowned">;
}

export interface StagedSweepDeps {
  readonly clock: Clock;
  readonly blocks: BlockFiles;
  readonly staged: StagedBlocks;
  readonly copies: OwnCopies;
  readonly owners: BlockOwners;
  readonly log: Log;
}

/** One walk over all rows. Ends early once `stopped()`. What fails is left for the next walk. */
export async function sweepStaged(deps: StagedSweepDeps, stopped: () => boolean): Promise<void> {
  let after: BlockId | undefined;
  for (;;) {
    const rows = await deps.staged.page(after, sweepPageRows);
    for (const { block, staged } of rows) {
      if (stopped()) return;
      if (staged.leaseUntilWallMs > deps.clock.wallMs() || deps.copies.isLive(block)) continue;
      try {
        await settleLease(deps, block, staged);
      } catch (error) {
        deps.log.warn("The owner of a staged block could not be asked", {
          block,
          reason: reasonOf(error),
        });
      }
    }
    after = rows.at(-1)?.block;
    if (rows.length < sweepPageRows || after === undefined) return;
  }
}

async function settleLease(
  deps: StagedSweepDeps,
  block: BlockId,
  staged: StagedBlock,
): Promise<void> {
  const { blocks, copies, owners } = deps;
  // A row without a file: the node died between the two, or an upload failed.
  const exists = await isThere(blocks, block);
  const answer = exists ? await owners.disown(staged.owner, block) : "disowned";
  // The row is read again: it may be gone, or belong to a newer run by now.
  const now = deps.staged.find(block);
  if (now?.attempt !== staged.attempt || copies.isLive(block)) return;
  if (answer === "referenced") await deps.staged.forget([block]);
  else await copies.remove([block]);
}

/** A damaged file is there too: its owner decides whether it may go. */
async function isThere(blocks: BlockFiles, block: BlockId): Promise<boolean> {
  try {
    return (await blocks.stat(block)) !== undefined;
  } catch (error) {
    if (error instanceof RingstowError && error.code === "Corrupt") return true;
    throw error;
  }
}
