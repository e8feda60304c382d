// Preconditions of writes: decided inside the chain, and looked at before a long body is read.
import { RingstowError } from "./errors.ts";
import { type Entry, type Precondition } from "./records.ts";

/** Throws NoSuchKey or PreconditionFailed as S3 does: If-Match on a missing key is 404. */
export function checkPrecondition(entry: Entry | undefined, precondition: Precondition): void {
  const matches = (tags: readonly string[]): boolean =>
    entry !== undefined && (tags.includes("*") || tags.includes(entry.etag));
  if (precondition.ifMatch && !matches(precondition.ifMatch)) {
    if (!entry) throw new RingstowError("NoSuchKey");
    throw new RingstowError("PreconditionFailed", undefined, { condition: "If-Match" });
  }
  if (precondition.ifNoneMatch && matches(precondition.ifNoneMatch)) {
    throw new RingstowError("PreconditionFailed", undefined, { condition: "If-None-Match" });
  }
}
