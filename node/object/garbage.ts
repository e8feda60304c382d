// Frees what a chain lists as garbage, once nobody can be reading it any more. Called for chains led here; doing it
// twice, or on two nodes, or dying in the middle does no harm: the chain keeps an item until its copies are gone.
import { type UploadId } from "../../shared/ids.ts";
import { garbageBatchMax, garbageDelayMs } from "../../shared/limits.ts";
import { type Chain, type Garbage, type RegisterAddress } from "../index/types.ts";
import { type Context, freshRequestId, namedAttempts, readChain } from "./context.ts";
import { sweepUpload } from "./sweep-upload.ts";

/**
 * Deletes the due garbage of a chain, `garbageBatchMax` items at a time, and tells the chain what is gone. The chain is
 * read anew: the replica that names the garbage may hold a write that was never decided, and what that one replaced is
 * the object's data still. Throws RingstowError; the next call takes up what is left.
 */
export async function freeGarbage(context: Context, at: RegisterAddress): Promise<void> {
  const chain = await readChain(context, at);
  if (!chain) return;
  const bornBefore = context.clock.wallMs() - garbageDelayMs;
  const due = chain.garbage.filter((item) => item.sinceMs <= bornBefore);
  for (let i = 0; i < due.length; i += garbageBatchMax)
    await freeBatch(context, at, chain, due.slice(i, i + garbageBatchMax));
}

async function freeBatch(
  context: Context,
  at: RegisterAddress,
  chain: Chain,
  due: readonly Garbage[],
): Promise<void> {
  const blocks = due.flatMap((item) => (item.kind === "block" ? [item.block] : []));
  const copies = blocks.length > 0 ? await context.data.delete(blocks) : [];
  const uploads: { uploadId: UploadId; sinceMs: number }[] = [];
  for (const item of due) {
    if (item.kind !== "upload") continue;
    const { uploadId, sinceMs } = item;
    const named = namedAttempts(chain, uploadId);
    if (await sweepUpload(context, at, uploadId, named)) uploads.push({ uploadId, sinceMs });
  }
  if (copies.length === 0 && uploads.length === 0) return;
  await context.index.execute(
    at,
    { type: "freed", copies, uploads },
    { requestId: freshRequestId(context) },
  );
}
