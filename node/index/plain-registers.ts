// Operations on registers that are no chains: parts of uploads, bucket records, gates. Pure functions like chain.ts.
import { RingstowError } from "../../shared/errors.ts";
import { type Bucket, type Part } from "../../shared/records.ts";
import { type OperationContext } from "./chain.ts";
import {
  type BucketOperation, type GateOperation, type PartOperation, type RegisterResult,
} from "./types.ts";

/** `value` undefined: the register becomes a tombstone. `changed` false: nothing is written. */
export interface PlainStep<T> {
  readonly value: T | undefined;
  readonly changed: boolean;
  readonly result: RegisterResult;
}

export function applyToPart(
  part: Part | undefined,
  operation: PartOperation,
  context: OperationContext,
): PlainStep<Part> {
  switch (operation.type) {
    case "putPart": {
      const next = {
        ...operation.part,
        lastModifiedMs: Math.max(context.wallMs, (part?.lastModifiedMs ?? 0) + 1),
      };
      return { value: next, changed: true, result: { type: "part", part: next, replaced: part } };
    }
    case "deletePart":
      return { value: undefined, changed: part !== undefined, result: { type: "done" } };
  }
}

export function applyToBucket(
  bucket: Bucket | undefined,
  operation: BucketOperation,
  context: OperationContext,
): PlainStep<Bucket> {
  switch (operation.type) {
    case "createBucket": {
      if (bucket) {
        throw new RingstowError(
          bucket.owner === operation.bucket.owner
            ? "BucketAlreadyOwnedByYou"
            : "BucketAlreadyExists",
        );
      }
      const made = { ...operation.bucket, createdMs: context.wallMs };
      return { value: made, changed: true, result: { type: "bucket", bucket: made } };
    }
    case "deleteBucket":
      if (bucket?.id !== operation.id) throw new RingstowError("NoSuchBucket");
      return { value: undefined, changed: true, result: { type: "done" } };
  }
}

/** A gate that was never written is open. */
export function applyToGate(open: boolean, operation: GateOperation): PlainStep<boolean> {
  return { value: operation.open, changed: open !== operation.open, result: { type: "done" } };
}
