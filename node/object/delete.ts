// DELETE of an object: one chain operation; what the object was becomes garbage of its chain.
import { assert } from "../../shared/errors.ts";
import { type RequestId } from "../../shared/ids.ts";
import { type BucketRef } from "../../shared/object-service.ts";
import { type Precondition } from "../../shared/records.ts";
import { objectAddress } from "./addresses.ts";
import { type Context } from "./context.ts";

export interface DeleteRequest {
  readonly bucket: BucketRef;
  readonly key: string;
  readonly precondition: Precondition;
  readonly requestId: RequestId;
}

/** Deleting what does not exist succeeds, unless a precondition asks for it. */
export async function deleteObject(
  context: Context,
  request: DeleteRequest,
): Promise<{ existed: boolean }> {
  const { precondition, requestId } = request;
  const at = objectAddress(request.bucket, request.key, context.sliceBits);
  const result = await context.index.execute(at, { type: "delete", precondition }, { requestId });
  assert(result.type === "deleted", "a delete answers that it is deleted");
  return { existed: result.existed };
}
