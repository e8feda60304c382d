// CopyObject and UploadPartCopy: no byte passes the gateway. Blocks get a second id where they are, by hard links;
// where that does not serve, the bytes are read here and written anew. Either way one register operation decides.
import { assert, RingstowError } from "../../shared/errors.ts";
import { objectBytesMax } from "../../shared/limits.ts";
import {
  type CopyPartRequest,
  type CopyRequest,
  type CopySource,
  type PutResult,
} from "../../shared/object-service.ts";
import { type Checksum, type ChecksumAlgorithm, type Entry } from "../../shared/records.ts";
import { type RegisterAddress } from "../index/types.ts";
import { checkPartNumber, objectAddress } from "./addresses.ts";
import { BodyReader } from "./body-reader.ts";
import { evaluateRead } from "./conditions.ts";
import { type Context } from "./context.ts";
import { linkBody } from "./link-body.ts";
import { openUpload, storePart } from "./parts.ts";
import { segmentsOf } from "./segments.ts";
import { sendBody } from "./send-body.ts";
import { commitStaged, stageBody, type StagedBody } from "./stage-body.ts";

/** A source as one linearizable read found it. */
interface Source {
  readonly at: RegisterAddress;
  readonly entry: Entry;
  /** The body when it lies beside the register. */
  readonly inline: Uint8Array | undefined;
}

/** A copied body, and what it is to be known by. */
interface CopiedBody {
  readonly staged: StagedBody;
  readonly size: number;
  readonly etag: string;
  readonly checksum: Checksum | undefined;
}

/**
 * Throws NoSuchKey without a source, PreconditionFailed for conditions of source or target, InvalidRequest for a
 * source above 5 GiB, and what a put throws.
 */
export async function copy(context: Context, request: CopyRequest): Promise<PutResult> {
  const source = await readSource(context, request.source);
  const { entry } = source;
  checkSize(entry.size);
  const at = objectAddress(request.bucket, request.key, context.sliceBits);
  // A linked copy has its source's ETag and checksum, those of a multipart object with their "-N": they tell of the
  // same bytes, and anything else would cost a read of all of them.
  const linked = await linkBody(context, at, segmentsOfAll(context, source));
  const body: CopiedBody = linked
    ? { staged: linked, size: entry.size, etag: entry.etag, checksum: entry.checksum }
    : await streamBody(context, at, source, {
        from: 0,
        to: entry.size,
        checksum: entry.checksum?.algorithm,
      });
  const { size, etag, checksum, staged } = body;
  const { headers, metadata } = request.described ?? entry;
  const result = await commitStaged(
    context,
    at,
    {
      type: "commit",
      entry: { headers, metadata, size, etag, checksum, body: staged.ref },
      precondition: request.precondition,
    },
    staged,
    request,
  );
  assert(result.type === "committed", "a commit answers that it is committed");
  const { version, lastModifiedMs } = result;
  return { etag: result.etag, version, lastModifiedMs, checksum };
}

/** Throws as copy() does, InvalidRange for a range that the source does not have, NoSuchUpload. */
export async function copyPart(context: Context, request: CopyPartRequest): Promise<PutResult> {
  const { range, partNumber, uploadId, requestId } = request;
  checkPartNumber(partNumber);
  const object = objectAddress(request.bucket, request.key, context.sliceBits);
  const upload = await openUpload(context, object, uploadId);
  const source = await readSource(context, request.source);
  const { entry } = source;
  if (range && (range.to >= entry.size || range.to < range.from))
    throw new RingstowError("InvalidRange", undefined, { size: String(entry.size) });
  const from = range?.from ?? 0;
  const to = range ? range.to + 1 : entry.size;
  checkSize(to - from);
  const wanted = upload.checksum?.algorithm;
  const whole = from === 0 && to === entry.size;
  return storePart(context, object, { uploadId, partNumber, requestId }, async (at) => {
    // A part's ETag is the MD5 of its bytes, and its checksum of the upload's kind: where the source's say the same,
    // nothing needs to be read.
    if (whole && isPlainMd5(entry.etag) && has(entry.checksum, wanted)) {
      const staged = await linkBody(context, at, segmentsOfAll(context, source));
      const checksum = entry.checksum?.type === "full" ? entry.checksum : undefined;
      if (staged) return { staged, size: entry.size, etag: entry.etag, checksum };
    }
    return streamBody(context, at, source, { from, to, checksum: wanted });
  });
}

async function readSource(
  context: Context,
  { bucket, key, conditions }: CopySource,
): Promise<Source> {
  const at = objectAddress(bucket, key, context.sliceBits);
  const { value, body: inline } = await context.index.read(at, { body: true });
  const entry = value?.kind === "object" ? value.chain.entries[0] : undefined;
  if (!entry) throw new RingstowError("NoSuchKey");
  // "Not modified" is a failure for a copy: there is nothing that could be answered instead.
  if (evaluateRead(entry, conditions) === "notModified")
    throw new RingstowError("PreconditionFailed", undefined, { condition: "copy source" });
  return { at, entry, inline };
}

/** Bytes from..to (exclusive), read and stored anew, with the MD5 and the checksum asked for. */
async function streamBody(
  context: Context,
  owner: RegisterAddress,
  { at, entry, inline }: Source,
  { from, to, checksum }: { from: number; to: number; checksum: ChecksumAlgorithm | undefined },
): Promise<CopiedBody> {
  const length = to - from;
  const whole = length === entry.size;
  const bytes = sendBody(context, segmentsOf(context, at, entry, { from, to }, inline), length);
  // A plain ETag is the body's MD5: what is stored is what was read.
  const md5 = whole && isPlainMd5(entry.etag) ? entry.etag : undefined;
  const plan = { length, encoding: "plain", md5 } as const;
  const reader = new BodyReader(bytes, plan, context.digest, { checksum });
  const staged = await stageBody(context, owner, reader);
  return { staged, size: length, etag: reader.etag, checksum: reader.checksum };
}

function segmentsOfAll(context: Context, { at, entry, inline }: Source) {
  return segmentsOf(context, at, entry, { from: 0, to: entry.size }, inline);
}

function isPlainMd5(etag: string): boolean {
  return /^[0-9a-f]{32}$/u.test(etag);
}

/** Whether a part with this checksum is one that the upload wants. */
function has(checksum: Checksum | undefined, wanted: ChecksumAlgorithm | undefined): boolean {
  return wanted === undefined || (checksum?.type === "full" && checksum.algorithm === wanted);
}

function checkSize(size: number): void {
  if (size <= objectBytesMax) return;
  throw new RingstowError(
    "InvalidRequest",
    `The specified copy source is larger than the maximum allowable size for a copy source: ${objectBytesMax}`,
  );
}
