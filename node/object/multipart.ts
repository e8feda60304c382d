// Multipart uploads. An upload's state stands in its object's chain, so Complete and Abort cannot both win; the
// finished object names one sending of each part and copies nothing.
import { RingstowError, assert } from "../../shared/errors.ts";
import { type RequestId, type UploadId, fromHex, parseUploadId, toHex } from "../../shared/ids.ts";
import { partBytesMin } from "../../shared/limits.ts";
import {
  type BucketRef,
  type ConditionalWrite,
  type PutResult,
} from "../../shared/object-service.ts";
import { type Described, type NewEntry, type PartRef, type Upload } from "../../shared/records.ts";
import { type Chain, type RegisterAddress } from "../index/types.ts";
import { checkPartNumber, objectAddress } from "./addresses.ts";
import { unquoted } from "./conditions.ts";
import { type Context, randomHex, readChain } from "./context.ts";
import { type SentPart, isNewer, sentParts } from "./parts.ts";
import { sweepNow } from "./sweep-upload.ts";

interface InBucket {
  readonly bucket: BucketRef;
  readonly key: string;
  readonly requestId: RequestId;
}
export type CreateUploadRequest = InBucket & Described;
export type AbortUploadRequest = InBucket & { readonly uploadId: UploadId };
export type CompleteUploadRequest = AbortUploadRequest &
  ConditionalWrite & { readonly parts: readonly ListedPart[] };
interface ListedPart {
  readonly partNumber: number;
  readonly etag: string;
}

export async function createUpload(
  context: Context,
  request: CreateUploadRequest,
): Promise<Upload> {
  const at = objectAddress(request.bucket, request.key, context.sliceBits);
  // Led by the time, so that S3's order of uploads (by time) and of markers (by id) are one.
  const time = context.clock.wallMs().toString(16).padStart(12, "0").slice(-12);
  const id = parseUploadId(time + randomHex(context, 10));
  const upload = { id, headers: request.headers, metadata: request.metadata };
  const result = await context.index.execute(
    at,
    { type: "createUpload", upload },
    { requestId: request.requestId },
  );
  assert(result.type === "upload", "createUpload answers with the upload");
  return result.upload;
}

/** Throws NoSuchUpload when the upload does not exist or is over. */
export async function abortUpload(context: Context, request: AbortUploadRequest): Promise<void> {
  const { uploadId, requestId } = request;
  const at = objectAddress(request.bucket, request.key, context.sliceBits);
  await context.index.execute(at, { type: "abortUpload", uploadId }, { requestId });
  context.background.run("sweep an aborted upload", () =>
    sweepNow(context, at, uploadId, "aborted"),
  );
}

/**
 * Makes the listed parts an object. Sent twice it answers the same, as long as its object is still there.
 * Throws NoSuchUpload, InvalidPart, InvalidPartOrder, EntityTooSmall, and what a commit throws.
 */
export async function completeUpload(
  context: Context,
  request: CompleteUploadRequest,
): Promise<PutResult> {
  const { uploadId, precondition, requestId, again } = request;
  const at = objectAddress(request.bucket, request.key, context.sliceBits);
  checkOrder(request.parts);
  const chain = await readChain(context, at);
  const before = finished(chain, uploadId);
  if (before) return before;
  // Without an upload this may be the retry of a Complete whose object is replaced by now: only the register knows
  // the request id. The commit is sent all the same; it is refused with NoSuchUpload unless it was answered before.
  const upload = chain?.uploads.find((open) => open.id === uploadId);
  const parts = await chooseParts(context, at, uploadId, request.parts).catch((error: unknown) => {
    throw upload ? error : new RingstowError("NoSuchUpload");
  });
  const entry: NewEntry = {
    headers: upload?.headers ?? {},
    metadata: upload?.metadata ?? {},
    size: parts.reduce((sum, part) => sum + part.size, 0),
    etag: etagOf(context, parts),
    body: { kind: "parts", uploadId, parts },
  };
  // When another Complete won in between, the chain answers with what that one committed.
  const operation = { type: "commit", entry, precondition, uploadId } as const;
  const result = await context.index.execute(at, operation, { requestId, again });
  assert(result.type === "committed", "a commit answers that it is committed");
  context.background.run("sweep a completed upload", () =>
    sweepNow(context, at, uploadId, "completed"),
  );
  const { etag, version, lastModifiedMs } = result;
  return { etag, version, lastModifiedMs };
}

/** What Complete answered, when its object is still there. */
function finished(chain: Chain | undefined, uploadId: UploadId): PutResult | undefined {
  const entry = chain?.entries.find(
    ({ body }) => body.kind === "parts" && body.uploadId === uploadId,
  );
  return (
    entry && { etag: entry.etag, version: entry.version, lastModifiedMs: entry.lastModifiedMs }
  );
}

function checkOrder(listed: readonly ListedPart[]): void {
  if (listed.length === 0) {
    throw new RingstowError("InvalidRequest", "Cannot complete the upload: no part is listed");
  }
  let previous = 0;
  for (const { partNumber } of listed) {
    checkPartNumber(partNumber);
    if (partNumber <= previous) throw new RingstowError("InvalidPartOrder");
    previous = partNumber;
  }
}

/**
 * The sending that each listed part means: the newest one with the ETag listed. An older one counts too, when a part
 * was sent again with other bytes: the ETag says which bytes are meant, and clocks do not.
 */
async function chooseParts(
  context: Context,
  at: RegisterAddress,
  uploadId: UploadId,
  listed: readonly ListedPart[],
): Promise<PartRef[]> {
  const etags = new Map(listed.map((part) => [part.partNumber, unquoted(part.etag)]));
  const chosen = new Map<number, SentPart>();
  for await (const sent of sentParts(context, at, uploadId)) {
    if (etags.get(sent.partNumber) !== sent.part.etag) continue;
    const present = chosen.get(sent.partNumber);
    if (!present || isNewer(sent, present)) chosen.set(sent.partNumber, sent);
  }
  return listed.map(({ partNumber, etag }, i) => {
    const sent = chosen.get(partNumber);
    const details = { partNumber: String(partNumber), etag: unquoted(etag) };
    if (!sent) throw new RingstowError("InvalidPart", undefined, details);
    const { size } = sent.part;
    if (size < partBytesMin && i < listed.length - 1) {
      throw new RingstowError("EntityTooSmall", undefined, {
        ...details,
        proposedSize: String(size),
        minimumSize: String(partBytesMin),
      });
    }
    return { partNumber, attempt: sent.attempt, size, etag: sent.part.etag };
  });
}

/** MD5 of the parts' MD5s, and their number. */
function etagOf(context: Context, parts: readonly PartRef[]): string {
  const md5 = context.digest.start("md5");
  for (const { etag } of parts) md5.update(fromHex(etag));
  return `${toHex(md5.digest())}-${parts.length}`;
}
