// LIST: a page of a bucket's objects in UTF-8 byte order, merged over its slices; keys under one delimiter group are
// passed by seeking behind the group, never by reading it.
import { type BucketRef, type ListRequest, type ListResult } from "../../shared/object-service.ts";
import { type Entry } from "../../shared/records.ts";
import { compareUtf8 } from "../../shared/utf8.ts";
import { type RegisterKey, nameOf, registerKey } from "../index/types.ts";
import { type KeyRange, bucketSlices, justAfter, rangeOf } from "./addresses.ts";
import { type Context, withoutParts } from "./context.ts";
import { MergedScan } from "./merged-scan.ts";

/** Objects without a committed state (uploads under way, garbage) are not listed. */
export async function list(context: Context, request: ListRequest): Promise<ListResult> {
  const { bucket, prefix, delimiter, limit } = request;
  const entries: { key: string; entry: Entry }[] = [];
  const commonPrefixes: string[] = [];
  let last: ListResult["last"];
  if (limit < 1) return { entries, commonPrefixes, truncated: false, last };
  const scan = scanObjects(context, bucket, startOf(request), limit);
  for (;;) {
    const row = await scan.peek();
    if (!row) return { entries, commonPrefixes, truncated: false, last };
    const entry = row.value.kind === "object" ? row.value.chain.entries[0] : undefined;
    if (!entry) {
      scan.advance();
      continue;
    }
    if (entries.length + commonPrefixes.length === limit) {
      return { entries, commonPrefixes, truncated: true, last };
    }
    const key = nameOf(row.key);
    const common = commonPrefixOf(key, prefix, delimiter);
    if (common === undefined) {
      entries.push({ key, entry: withoutParts(entry) });
      last = { after: key, afterPrefix: false };
      scan.advance();
    } else {
      commonPrefixes.push(common);
      last = { after: common, afterPrefix: true };
      scan.seek(rangeOf("object", bucket.id, common).to);
    }
  }
}

/** The group that a key falls into, the delimiter included; undefined when it stands for itself. */
export function commonPrefixOf(key: string, prefix: string, delimiter: string): string | undefined {
  if (delimiter === "") return undefined;
  const found = key.indexOf(delimiter, prefix.length);
  return found < 0 ? undefined : key.slice(0, found + delimiter.length);
}

/** Chains of a bucket in key order; first pages are sized so that one round usually fills a list of `limit`. */
export function scanObjects(
  context: Context,
  bucket: BucketRef,
  range: KeyRange,
  limit: number,
): MergedScan {
  const slices = bucketSlices(bucket, context.sliceBits);
  // A third more than its share: hashing spreads keys evenly, but not exactly.
  const pageRows = Math.ceil((limit / slices.length) * 1.3) + 8;
  return new MergedScan(context.index, slices, range, pageRows);
}

function startOf({ bucket, prefix, after, afterPrefix }: ListRequest): KeyRange {
  const range = rangeOf("object", bucket.id, prefix);
  if (after === undefined) return range;
  const behind: RegisterKey = afterPrefix
    ? rangeOf("object", bucket.id, after).to
    : justAfter(registerKey("object", bucket.id, after));
  return compareUtf8(behind, range.from) > 0 ? { from: behind, to: range.to } : range;
}
