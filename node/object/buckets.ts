// Buckets: records in the system bucket. A bucket's id is random per creation, so nothing of a deleted bucket can
// come back under its name. DeleteBucket closes the bucket's gates before it looks: what it
// does not find then cannot appear any more.
import { RingstowError, assert } from "../../shared/errors.ts";
import { type RequestId, type UploadId, parseBucketId } from "../../shared/ids.ts";
import { abortsInFlightMax, listKeysMax, shardsDefault } from "../../shared/limits.ts";
import { type Bucket, SYSTEM_BUCKETS } from "../../shared/records.ts";
import { type Chain, nameOf, registerKey } from "../index/types.ts";
import { bucketAddress, gateAddresses, justAfter, rangeOf } from "./addresses.ts";
import { type Context, freshRequestId, randomHex } from "./context.ts";
import { scanObjects } from "./list.ts";
import { MergedScan } from "./merged-scan.ts";
import { abortUpload } from "./multipart.ts";

/** No bucket's id. */
const NO_BUCKET = parseBucketId("0".repeat(32));

interface BucketRequest {
  readonly name: string;
  readonly requestId: RequestId;
}

/** Throws BucketAlreadyOwnedByYou or BucketAlreadyExists. */
export async function createBucket(
  context: Context,
  request: BucketRequest & { readonly owner: string },
): Promise<Bucket> {
  const { name, owner, requestId } = request;
  const id = parseBucketId(randomHex(context, 16));
  const result = await context.index.execute(
    bucketAddress(name, context.sliceBits),
    { type: "createBucket", bucket: { name, id, shards: shardsDefault, owner } },
    { requestId },
  );
  assert(result.type === "bucket", "createBucket answers with the bucket");
  return result.bucket;
}

/** Throws NoSuchBucket. */
export async function getBucket(context: Context, name: string): Promise<Bucket> {
  const bucket = await findBucket(context, name);
  if (!bucket) throw new RingstowError("NoSuchBucket");
  return bucket;
}

async function findBucket(context: Context, name: string): Promise<Bucket | undefined> {
  const at = bucketAddress(name, context.sliceBits);
  const { value } = await context.index.read(at, { body: false });
  return value?.kind === "bucket" ? value.bucket : undefined;
}

/** Buckets by name in UTF-8 byte order. */
export async function listBuckets(
  context: Context,
  request: { readonly after: string | undefined; readonly limit: number },
): Promise<{ buckets: Bucket[]; truncated: boolean }> {
  const range = rangeOf("bucket", SYSTEM_BUCKETS, "");
  const from =
    request.after === undefined
      ? range.from
      : justAfter(registerKey("bucket", SYSTEM_BUCKETS, request.after));
  const { slice } = bucketAddress("", context.sliceBits);
  const rows = Math.min(request.limit + 1, listKeysMax);
  const scan = new MergedScan(context.index, [slice], { from, to: range.to }, rows);
  const buckets: Bucket[] = [];
  for (let row = await scan.peek(); row; row = await scan.peek()) {
    if (buckets.length >= request.limit) return { buckets, truncated: true };
    if (row.value.kind === "bucket") buckets.push(row.value.bucket);
    scan.advance();
  }
  return { buckets, truncated: false };
}

/**
 * Throws NoSuchBucket or BucketNotEmpty. As in S3, multipart uploads under way do not keep a bucket: they are aborted,
 * so that their parts are freed. When this process dies in the middle, gates stay closed (writes answer NoSuchBucket)
 * until DeleteBucket is sent again: it takes them over, and deletes the bucket or opens them.
 */
export async function deleteBucket(context: Context, request: BucketRequest): Promise<void> {
  const { name, requestId } = request;
  const at = bucketAddress(name, context.sliceBits);
  const bucket = await findBucket(context, name);
  if (!bucket) {
    // Perhaps the retry of one that deleted it: the register knows, and refuses any other with NoSuchBucket.
    await context.index.execute(at, { type: "deleteBucket", id: NO_BUCKET }, { requestId });
    return;
  }
  // Looks before it closes: deleting a bucket in use must not disturb those who write to it.
  if (await holdsObjects(context, bucket)) throw new RingstowError("BucketNotEmpty");
  // Not the client's request id: two attempts of one request must not open each other's gates.
  const closer = freshRequestId(context);
  try {
    await setGates(context, bucket, { open: false, closer });
    if (await holdsObjects(context, bucket)) throw new RingstowError("BucketNotEmpty");
    await abortUploads(context, bucket);
  } catch (error) {
    await reopen(context, bucket, closer);
    throw error;
  }
  // Whatever becomes of this, the gates stay closed: opening them after a delete whose outcome is unknown would let
  // writes into a bucket that is gone. A client that retries finishes the work.
  await context.index.execute(at, { type: "deleteBucket", id: bucket.id }, { requestId });
  // The answer may have been an earlier attempt's, about a bucket of this name before this one.
  if ((await findBucket(context, name))?.id === bucket.id) await reopen(context, bucket, closer);
}

async function setGates(
  context: Context,
  bucket: Bucket,
  gate: { readonly open: boolean; readonly closer: RequestId },
): Promise<void> {
  const settings = gateAddresses(bucket, context.sliceBits).map((at) =>
    context.index.execute(at, { type: "setGate", ...gate }, { requestId: freshRequestId(context) }),
  );
  // All of them end before the gates may be opened again: none must close after that.
  const ends = await Promise.allSettled(settings);
  const failed = ends.find((end) => end.status === "rejected");
  if (failed) throw failed.reason;
}

async function reopen(context: Context, bucket: Bucket, closer: RequestId): Promise<void> {
  try {
    await setGates(context, bucket, { open: true, closer });
  } catch (error) {
    context.log.error("Gates of a bucket stay closed: send DeleteBucket again", {
      bucket: bucket.name,
      error: String(error),
    });
  }
}

async function holdsObjects(context: Context, bucket: Bucket): Promise<boolean> {
  for await (const { chain } of chainsOf(context, bucket)) {
    if (chain.entries.length > 0) return true;
  }
  return false;
}

async function abortUploads(context: Context, bucket: Bucket): Promise<void> {
  let aborting: Promise<void>[] = [];
  for await (const { key, chain } of chainsOf(context, bucket)) {
    for (const { id } of chain.uploads) {
      aborting.push(abortOne(context, bucket, key, id));
      if (aborting.length < abortsInFlightMax) continue;
      await Promise.all(aborting);
      aborting = [];
    }
  }
  await Promise.all(aborting);
}

async function abortOne(
  context: Context,
  bucket: Bucket,
  key: string,
  uploadId: UploadId,
): Promise<void> {
  try {
    await abortUpload(context, { bucket, key, uploadId, requestId: freshRequestId(context) });
  } catch (error) {
    // Its client was faster.
    if (!(error instanceof RingstowError && error.code === "NoSuchUpload")) throw error;
  }
}

async function* chainsOf(
  context: Context,
  bucket: Bucket,
): AsyncGenerator<{ key: string; chain: Chain }, void, void> {
  const range = rangeOf("object", bucket.id, "");
  const scan = scanObjects(context, bucket, range, listKeysMax);
  for (let row = await scan.peek(); row; row = await scan.peek()) {
    scan.advance();
    if (row.value.kind === "object") yield { key: nameOf(row.key), chain: row.value.chain };
  }
}
