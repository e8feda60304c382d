// Parts of multipart uploads. Every sending of a part has a register of its own, written once: were it replaced in
// place, a part that is sent again just after Complete would change the bytes of the finished object. Which sending
// counts is decided by Complete; all others, with their blocks, go when the upload has ended (sweep-upload.ts). They
// are not freed earlier, because a Complete that is under way may be about to name them.
import { RingstowError, assert } from "../../shared/errors.ts";
import { type RequestId, type UploadId } from "../../shared/ids.ts";
import { listKeysMax } from "../../shared/limits.ts";
import {
  type BodyPlan,
  type BucketRef,
  type ByteStream,
  type PutResult,
} from "../../shared/object-service.ts";
import {
  type Checksum,
  type ChecksumAlgorithm,
  type Part,
  type Upload,
} from "../../shared/records.ts";
import { type Chain, type RegisterAddress, type RegisterKey, isGivenUp } from "../index/types.ts";
import { checkPartNumber, objectAddress, partAddress, partOfKey, partRange } from "./addresses.ts";
import { BodyReader, declaredAlgorithm } from "./body-reader.ts";
import { type Context, namedAttempts, randomHex, readChain } from "./context.ts";
import { MergedScan } from "./merged-scan.ts";
import { type StagedBody, commitStaged, stageBody } from "./stage-body.ts";
import { removeParts } from "./sweep-upload.ts";

export interface PutPartRequest {
  readonly bucket: BucketRef;
  readonly key: string;
  readonly uploadId: UploadId;
  readonly partNumber: number;
  readonly body: BodyPlan;
  readonly requestId: RequestId;
}

/** One sending of a part. */
export interface SentPart {
  readonly key: RegisterKey;
  readonly partNumber: number;
  readonly attempt: string;
  readonly part: Part;
}

/** Which part of which upload, and the request that brings it. */
type PartPlace = Pick<PutPartRequest, "uploadId" | "partNumber" | "requestId">;

/** A part's body where its register can name it, and what it is known by. */
export interface StagedPart {
  readonly staged: StagedBody;
  readonly size: number;
  readonly etag: string;
  readonly checksum: Checksum | undefined;
}

/** Throws NoSuchUpload when the upload does not exist or ended meanwhile, and the body's errors. */
export async function putPart(
  context: Context,
  request: PutPartRequest,
  body: ByteStream,
): Promise<PutResult> {
  checkPartNumber(request.partNumber);
  const object = objectAddress(request.bucket, request.key, context.sliceBits);
  const upload = await openUpload(context, object, request.uploadId);
  const reader = new BodyReader(body, request.body, context.digest, {
    hopSecret: context.hopSecret,
    checksum: expectedAlgorithm(upload, request.body),
  });
  return storePart(context, object, request, async (at) => {
    const staged = await stageBody(context, at, reader);
    return { staged, size: reader.length, etag: reader.etag, checksum: reader.checksum };
  });
}

/** Throws NoSuchUpload. */
export async function openUpload(
  context: Context,
  object: RegisterAddress,
  uploadId: UploadId,
): Promise<Upload> {
  return findUpload(await readChain(context, object), uploadId);
}

/** Stages one sending of a part for a register of its own, and writes that. Throws NoSuchUpload, and what `stage` throws. */
export async function storePart(
  context: Context,
  object: RegisterAddress,
  { uploadId, partNumber, requestId }: PartPlace,
  stage: (at: RegisterAddress) => Promise<StagedPart>,
): Promise<PutResult> {
  const attempt = randomHex(context, 8);
  const at = partAddress(object, uploadId, partNumber, attempt);
  const { staged, ...described } = await stage(at);
  if (staged.blocks.length > 0) await stillOpen(context, object, uploadId, staged.giveUp);
  const part = { ...described, body: staged.ref };
  const result = await commitStaged(context, at, { type: "putPart", part }, staged, { requestId });
  assert(result.type === "part", "putPart answers with the part");

  await keepOrRemove(context, object, uploadId, { ...result, key: at.key, partNumber, attempt });
  const { etag, lastModifiedMs, checksum } = result.part;
  return { etag, version: 1, lastModifiedMs, checksum };
}

/** The upload's: a part without a checksum gets one of it all the same. Throws InvalidRequest for one of another. */
function expectedAlgorithm(upload: Upload, body: BodyPlan): ChecksumAlgorithm | undefined {
  const expected = upload.checksum?.algorithm;
  const actual = declaredAlgorithm(body);
  if (expected && actual && expected !== actual) {
    throw new RingstowError(
      "InvalidRequest",
      `Checksum Type mismatch occurred, expected checksum Type: ${expected}, actual checksum Type: ${actual}`,
    );
  }
  return expected;
}

/**
 * A long body took its time: when its upload ended meanwhile, its sweep may be over too, and nobody would look for
 * this part any more. Asking once more leaves only the time of one register operation, far below the sweep's delay.
 */
async function stillOpen(
  context: Context,
  object: RegisterAddress,
  uploadId: UploadId,
  giveUp: () => Promise<void>,
): Promise<void> {
  try {
    await openUpload(context, object, uploadId);
  } catch (error) {
    // No operation named the blocks yet, so they are nobody's whatever kept the chain from being read.
    context.background.run("give up staged blocks", giveUp);
    throw error;
  }
}

/** The part is written; if the upload ended before, and did not take it along, it must not stay. */
async function keepOrRemove(
  context: Context,
  object: RegisterAddress,
  uploadId: UploadId,
  sent: SentPart,
): Promise<void> {
  const chain = await readChain(context, object);
  if (chain?.uploads.some((upload) => upload.id === uploadId)) return;
  if (chain && namedAttempts(chain, uploadId).has(sent.attempt)) return;
  // Ended uploads never come back, so no Complete can name this part any more.
  context.background.run("remove a part that came too late", () =>
    removeParts(context, object.slice, [sent]),
  );
  throw new RingstowError("NoSuchUpload");
}

/** Throws NoSuchUpload. */
export function findUpload(chain: Chain | undefined, uploadId: UploadId): Upload {
  const upload = chain?.uploads.find((open) => open.id === uploadId);
  if (!upload) throw new RingstowError("NoSuchUpload");
  return upload;
}

/** All sendings of parts with a number above `after`, by number. */
export async function* sentParts(
  context: Context,
  object: RegisterAddress,
  uploadId: UploadId,
  after = 0,
): AsyncGenerator<SentPart, void, void> {
  const range = partRange(object, uploadId, after);
  const scan = new MergedScan(context.index, [object.slice], range, listKeysMax);
  for (let row = await scan.peek(); row; row = await scan.peek()) {
    scan.advance();
    if (row.value.kind !== "part" || isGivenUp(row.value.part)) continue;
    yield { key: row.key, part: row.value.part, ...partOfKey(row.key) };
  }
}

/** Whether `a` was sent after `b`. */
export function isNewer(a: SentPart, b: SentPart): boolean {
  return a.part.lastModifiedMs === b.part.lastModifiedMs
    ? a.attempt > b.attempt
    : a.part.lastModifiedMs > b.part.lastModifiedMs;
}

export interface ListPartsRequest {
  readonly bucket: BucketRef;
  readonly key: string;
  readonly uploadId: UploadId;
  readonly after: number;
  readonly limit: number;
}

/** The newest sending of each part with a number above `after`. Throws NoSuchUpload. */
export async function listParts(context: Context, request: ListPartsRequest) {
  const { uploadId, after, limit } = request;
  const object = objectAddress(request.bucket, request.key, context.sliceBits);
  const upload = await openUpload(context, object, uploadId);
  const newest: SentPart[] = [];
  let truncated = false;
  for await (const sent of sentParts(context, object, uploadId, after)) {
    const present = newest.at(-1);
    if (present?.partNumber === sent.partNumber) {
      if (isNewer(sent, present)) newest[newest.length - 1] = sent;
    } else if (newest.length >= limit) {
      truncated = limit > 0;
      break;
    } else {
      newest.push(sent);
    }
  }
  const parts = newest.map(({ part, partNumber }) => ({ ...part, partNumber }));
  return { upload, parts, truncated };
}
