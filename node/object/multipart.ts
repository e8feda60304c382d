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
import {
  type Checksum,
  type ChecksumAlgorithm,
  type Described,
  type NewEntry,
  type PartRef,
  type Upload,
  type UploadChecksum,
} from "../../shared/records.ts";
import { type Chain, type RegisterAddress } from "../index/types.ts";
import { checkPartNumber, objectAddress } from "./addresses.ts";
import { checkShape, checkUploadChecksum, checksumOfParts } from "./checksums.ts";
import { unquoted } from "./conditions.ts";
import { type Context, randomHex, readChain } from "./context.ts";
import { lockedWrite } from "./locked-write.ts";
import { type SentPart, isNewer, sentParts } from "./parts.ts";
import { sweepNow } from "./sweep-upload.ts";

interface InBucket {
  readonly bucket: BucketRef;
  readonly key: string;
  readonly requestId: RequestId;
}
export type CreateUploadRequest = InBucket &
  Described & { readonly checksum?: UploadChecksum | undefined };
export type AbortUploadRequest = InBucket & { readonly uploadId: UploadId };
export type CompleteUploadRequest = AbortUploadRequest &
  ConditionalWrite & {
    readonly parts: readonly ListedPart[];
    readonly checksum?: ClaimedChecksum | undefined;
    readonly size?: number | undefined;
  };
interface ClaimedChecksum {
  readonly algorithm: ChecksumAlgorithm;
  readonly value: string;
}
interface ListedPart {
  readonly partNumber: number;
  readonly etag: string;
  readonly checksum?: string | undefined;
}

/** Throws InvalidRequest for a kind of checksum that S3 does not offer. */
export async function createUpload(
  context: Context,
  request: CreateUploadRequest,
): Promise<Upload> {
  const at = objectAddress(request.bucket, request.key, context.sliceBits);
  // Led by the time, so that S3's order of uploads (by time) and of markers (by id) are one.
  const time = context.clock.wallMs().toString(16).padStart(12, "0").slice(-12);
  const id = parseUploadId(time + randomHex(context, 10));
  const { headers, metadata, checksum } = request;
  if (checksum) checkUploadChecksum(checksum);
  const upload = { id, headers, metadata, checksum };
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
 * Throws NoSuchUpload, InvalidPart, InvalidPartOrder, EntityTooSmall, InvalidRequest, ChecksumMismatch, and what a
 * commit throws.
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
  const { parts, size, checksum } = await assemble(context, at, upload, request).catch(
    (error: unknown) => {
      throw upload ? error : new RingstowError("NoSuchUpload");
    },
  );
  const entry: NewEntry = {
    headers: upload?.headers ?? {},
    metadata: upload?.metadata ?? {},
    size,
    etag: etagOf(context, parts),
    checksum,
    body: { kind: "parts", uploadId, parts },
  };
  // When another Complete won in between, the chain answers with what that one committed.
  const operation = { type: "commit", entry, precondition, uploadId } as const;
  const result = await lockedWrite(context, at, operation, { requestId, again });
  assert(result.type === "committed", "a commit answers that it is committed");
  context.background.run("sweep a completed upload", () =>
    sweepNow(context, at, uploadId, "completed"),
  );
  const { etag, version, lastModifiedMs } = result;
  return { etag, version, lastModifiedMs, ...(etag === entry.etag && { checksum }) };
}

/** The listed parts, and what they make together, held to what the request says of it. */
async function assemble(
  context: Context,
  at: RegisterAddress,
  upload: Upload | undefined,
  request: CompleteUploadRequest,
): Promise<{ parts: PartRef[]; size: number; checksum: Checksum | undefined }> {
  const claimed = request.checksum;
  // Parts of an upload that named no algorithm may have checksums all the same; CRCs of them make one of the whole.
  const kind = upload?.checksum ?? (claimed && { algorithm: claimed.algorithm, type: "full" });
  const parts = await chooseParts(context, at, request, kind?.algorithm);
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  if (request.size !== undefined && request.size !== size) {
    throw new RingstowError(
      "InvalidRequest",
      `Cannot complete the upload: its parts have ${size} bytes, expected ${request.size}`,
    );
  }
  const checksum = kind && checksumOfParts(context.digest, kind, parts);
  if (claimed) checkClaim(claimed, checksum);
  return { parts, size, checksum };
}

function checkClaim({ algorithm, value }: ClaimedChecksum, actual: Checksum | undefined): void {
  if (actual?.algorithm !== algorithm) {
    throw new RingstowError(
      "InvalidRequest",
      `Cannot complete the upload: its parts do not all have ${algorithm} checksums`,
    );
  }
  const [base64] = value.split("-");
  checkShape(algorithm, base64!);
  if (value !== actual.value && value !== actual.value.split("-")[0]) {
    throw new RingstowError("ChecksumMismatch", undefined, { algorithm });
  }
}

/** What Complete answered, when its object is still there. */
function finished(chain: Chain | undefined, uploadId: UploadId): PutResult | undefined {
  const entry = chain?.entries.find(
    ({ body }) => body.kind === "parts" && body.uploadId === uploadId,
  );
  if (!entry) return undefined;
  const { etag, version, lastModifiedMs, checksum } = entry;
  return { etag, version, lastModifiedMs, checksum };
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
  { uploadId, parts: listed }: CompleteUploadRequest,
  algorithm: ChecksumAlgorithm | undefined,
): Promise<PartRef[]> {
  const wanted = new Map(listed.map((part) => [part.partNumber, part]));
  const chosen = new Map<number, SentPart>();
  for await (const sent of sentParts(context, at, uploadId)) {
    const meant = wanted.get(sent.partNumber);
    if (!meant || !isMeant(meant, sent, algorithm)) continue;
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
    const { checksum } = sent.part;
    const value = checksum?.algorithm === algorithm ? checksum?.value : undefined;
    return { partNumber, attempt: sent.attempt, size, etag: sent.part.etag, checksum: value };
  });
}

/** Whether a sending has the ETag listed, and the checksum if one is. */
function isMeant(
  { etag, checksum }: ListedPart,
  { part }: SentPart,
  algorithm: ChecksumAlgorithm | undefined,
): boolean {
  if (unquoted(etag) !== part.etag) return false;
  if (checksum === undefined) return true;
  // Without an algorithm nothing was promised about checksums: what is not stored cannot differ.
  return part.checksum ? part.checksum.value === checksum : algorithm === undefined;
}

/** MD5 of the parts' MD5s, and their number. */
function etagOf(context: Context, parts: readonly PartRef[]): string {
  const md5 = context.digest.start("md5");
  for (const { etag } of parts) md5.update(fromHex(etag));
  return `${toHex(md5.digest())}-${parts.length}`;
}
