// Removes the parts that an ended upload leaves behind. Crash-safe without a journal: the chain names the upload as
// garbage from the moment it ends until a sweep found nothing more to remove, so whoever starts again finds it.
import { assert } from "../../shared/errors.ts";
import { type BlockRef, type Part } from "../../shared/records.ts";
import { type UploadId } from "../../shared/ids.ts";
import { garbageBatchMax } from "../../shared/limits.ts";
import { type Slice } from "../../shared/slices.ts";
import { type RegisterAddress, type RegisterKey, blocksIn, withFormer } from "../index/types.ts";
import { partOfKey, partRange } from "./addresses.ts";
import { type Context, freshRequestId, namedAttempts, readChain } from "./context.ts";
import { MergedScan } from "./merged-scan.ts";

interface PartRegister {
  readonly key: RegisterKey;
  readonly part: Part;
}

/**
 * Deletes the blocks of parts, then the registers of those whose copies are all gone for sure.
 * Answers whether all are.
 */
export async function removeParts(
  context: Context,
  slice: Slice,
  parts: readonly PartRegister[],
): Promise<boolean> {
  const blocks = parts.flatMap(({ part }) => blocksOf(part));
  const gone = blocks.length > 0 ? await context.data.delete(blocks) : [];
  const copies = new Set(gone.map(({ block, node }) => `${block}/${node}`));
  const free = parts.filter(({ part }) =>
    blocksOf(part).every(({ id, replicas }) =>
      replicas.every(({ node }) => copies.has(`${id}/${node}`)),
    ),
  );
  // The register goes last: it is the only one that knows where the blocks are.
  await Promise.all(
    free.map(({ key }) =>
      context.index.execute(
        { slice, key },
        { type: "deletePart" },
        { requestId: freshRequestId(context) },
      ),
    ),
  );
  return free.length === parts.length;
}

/**
 * Removes every part of an ended upload that is not in `named`. Answers whether nothing is left to remove.
 * The caller has seen a chain in which the upload is over; since it cannot come back, `named` can only shrink.
 */
export async function sweepUpload(
  context: Context,
  object: RegisterAddress,
  uploadId: UploadId,
  named: ReadonlySet<string>,
): Promise<boolean> {
  const range = partRange(object, uploadId);
  const scan = new MergedScan(context.index, [object.slice], range, garbageBatchMax);
  let clean = true;
  let batch: PartRegister[] = [];
  for (;;) {
    const row = await scan.peek();
    if (row) {
      scan.advance();
      const { value, key } = row;
      if (value.kind === "part" && !named.has(partOfKey(key).attempt)) {
        batch.push({ key, part: value.part });
      }
    }
    if (batch.length > 0 && (!row || batch.length === garbageBatchMax)) {
      clean = (await removeParts(context, object.slice, batch)) && clean;
      batch = [];
    }
    if (!row) return clean;
  }
}

/**
 * Right after an upload was aborted or completed: frees what nobody can be reading. Best effort, the chain's garbage
 * covers the rest. The chain is read again, because another Complete than the caller's may have won.
 */
export async function sweepNow(
  context: Context,
  object: RegisterAddress,
  uploadId: UploadId,
  ended: "aborted" | "completed",
): Promise<void> {
  const chain = await readChain(context, object);
  assert(!chain?.uploads.some(({ id }) => id === uploadId), "an ended upload stays ended");
  const named = chain ? namedAttempts(chain, uploadId) : new Set<string>();
  // The finished object is replaced already: it may still be read, so its parts wait for their time.
  if (ended === "completed" && named.size === 0) return;
  await sweepUpload(context, object, uploadId, named);
}

/** Of a part, with every node that may hold a copy. */
function blocksOf(part: Part): readonly BlockRef[] {
  return blocksIn({ kind: "part", part }).map(withFormer);
}
