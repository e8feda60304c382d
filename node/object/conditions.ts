// Conditions of reads: RFC 9110 section 13.2.2 (an ETag condition beats the time condition of its kind) with S3's
// reading of it. Those of writes are decided inside the chain alone: an early look would refuse the retry of a write
// that was committed.
import { RingstowError } from "../../shared/errors.ts";
import { type ReadConditions } from "../../shared/object-service.ts";
import { type Entry } from "../../shared/records.ts";
import { formatHttpDate } from "./http-date.ts";

/** "notModified" answers 304. Throws PreconditionFailed for 412. */
export function evaluateRead(entry: Entry, conditions: ReadConditions): "send" | "notModified" {
  const { ifMatch, ifNoneMatch, ifModifiedSinceMs, ifUnmodifiedSinceMs } = conditions;
  // Header times have whole seconds: what changed within that second counts as not changed since.
  const modifiedMs = Math.floor(entry.lastModifiedMs / 1000) * 1000;
  if (ifMatch) {
    if (!matches(ifMatch, entry)) throw failed("If-Match");
  } else if (ifUnmodifiedSinceMs !== undefined && modifiedMs > ifUnmodifiedSinceMs) {
    throw failed("If-Unmodified-Since");
  }
  if (ifNoneMatch) return matches(ifNoneMatch, entry) ? "notModified" : "send";
  if (ifModifiedSinceMs !== undefined && modifiedMs <= ifModifiedSinceMs) return "notModified";
  return "send";
}

/** Whether If-Range (an ETag, quoted or not, or a date as Last-Modified was sent) names the present state. */
export function holdsIfRange(entry: Entry, ifRange: string): boolean {
  // A weak tag never matches here (RFC 9110 section 13.1.5); dates must be equal to the letter.
  const value = ifRange.trim();
  return unquoted(value) === entry.etag || value === formatHttpDate(entry.lastModifiedMs);
}

/** An ETag without its quotes. */
export function unquoted(etag: string): string {
  return etag.length >= 2 && etag.startsWith('"') && etag.endsWith('"') ? etag.slice(1, -1) : etag;
}

function matches(etags: readonly string[], entry: Entry): boolean {
  return etags.includes("*") || etags.includes(entry.etag);
}

function failed(condition: string): RingstowError {
  return new RingstowError("PreconditionFailed", undefined, { condition });
}
