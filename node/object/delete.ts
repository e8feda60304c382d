// DELETE of an object: one chain operation; what the object was becomes garbage of its chain.
import { assert } from "../../shared/errors.ts";
import { type BucketRef, type ConditionalWrite } from "../../shared/object-service.ts";
import { objectAddress } from "./addresses.ts";
import { type Context } from "./context.ts";
import { lockedWrite } from "./locked-write.ts";

export interface DeleteRequest extends ConditionalWrite {
  readonly bucket: BucketRef;
  readonly key: string;
}

/** Deleting what does not exist succeeds, unless a precondition asks for it. */
export async function deleteObject(
  context: Context,
  request: DeleteRequest,
): Promise<{ existed: boolean }> {
  const { precondition, requestId, again } = request;
  const at = objectAddress(request.bucket, request.key, context.sliceBits);
  const operation = { type: "delete", precondition } as const;
  const result = await lockedWrite(context, at, operation, { requestId, again });
  assert(result.type === "deleted", "a delete answers that it is deleted");
  return { existed: result.existed };
}
