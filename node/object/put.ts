// PUT of an object: one pass over the body, then one register operation that decides. No lock is held meanwhile.
import { assert } from "../../shared/errors.ts";
import { type ByteStream, type PutRequest, type PutResult } from "../../shared/object-service.ts";
import { type NewEntry } from "../../shared/records.ts";
import { objectAddress } from "./addresses.ts";
import { BodyReader } from "./body-reader.ts";
import { type Context } from "./context.ts";
import { commitStaged, stageBody } from "./stage-body.ts";

/** Throws the body's errors, NoSuchKey or PreconditionFailed, NoSuchBucket, BlockDisowned, Unavailable. */
export async function put(
  context: Context,
  request: PutRequest,
  body: ByteStream,
): Promise<PutResult> {
  const at = objectAddress(request.bucket, request.key, context.sliceBits);
  const reader = new BodyReader(body, request.body, context.digest, context);
  // No early look at the precondition: a retry whose first attempt was committed would find its own object and be
  // refused. Only the register knows the request ids.
  const staged = await stageBody(context, at, reader);
  const entry: NewEntry = {
    headers: request.headers,
    metadata: request.metadata,
    size: reader.length,
    etag: reader.etag,
    checksum: reader.checksum,
    body: staged.ref,
  };
  const result = await commitStaged(
    context,
    at,
    { type: "commit", entry, precondition: request.precondition },
    staged,
    request,
  );
  assert(result.type === "committed", "a commit answers that it is committed");
  const { etag, version, lastModifiedMs } = result;
  return { etag, version, lastModifiedMs, checksum: entry.checksum };
}
