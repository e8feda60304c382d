// Multipart uploads under way in a bucket, by key and then by upload id (which is led by its time). Uploads stand in
// their objects' chains, so this reads the chains of the bucket from the marker on.
import { type ListUploadsRequest, type ListUploadsResult } from "../../shared/object-service.ts";
import { type Upload } from "../../shared/records.ts";
import { compareUtf8 } from "../../shared/utf8.ts";
import { type RegisterKey, type ScanRow, nameOf, registerKey } from "../index/types.ts";
import { type KeyRange, justAfter, rangeOf } from "./addresses.ts";
import { type Context } from "./context.ts";
import { commonPrefixOf, scanObjects } from "./list.ts";

export async function listUploads(
  context: Context,
  request: ListUploadsRequest,
): Promise<ListUploadsResult> {
  const { bucket, prefix, delimiter, limit } = request;
  const uploads: { key: string; upload: Upload }[] = [];
  const commonPrefixes: string[] = [];
  let last: { key: string; uploadId: string | undefined } | undefined;
  const page = (truncated: boolean): ListUploadsResult => ({
    uploads,
    commonPrefixes,
    truncated,
    nextKeyMarker: truncated ? last?.key : undefined,
    nextUploadIdMarker: truncated ? last?.uploadId : undefined,
  });
  if (limit < 1) return page(false);
  const scan = scanObjects(context, bucket, startOf(request), limit);
  for (let row = await scan.peek(); row; row = await scan.peek()) {
    const key = nameOf(row.key);
    const found = uploadsBehind(row, request);
    const common = commonPrefixOf(key, prefix, delimiter);
    if (found.length > 0 && common !== undefined) {
      if (uploads.length + commonPrefixes.length === limit) return page(true);
      commonPrefixes.push(common);
      last = { key: common, uploadId: undefined };
      scan.seek(rangeOf("object", bucket.id, common).to);
      continue;
    }
    for (const upload of found) {
      if (uploads.length + commonPrefixes.length === limit) return page(true);
      uploads.push({ key, upload });
      last = { key, uploadId: upload.id };
    }
    scan.advance();
  }
  return page(false);
}

/** A chain's uploads in order, without those that the markers say were listed before. */
function uploadsBehind(row: ScanRow, { keyMarker, uploadIdMarker }: ListUploadsRequest): Upload[] {
  if (row.value.kind !== "object") return [];
  const uploads = row.value.chain.uploads.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  if (nameOf(row.key) !== keyMarker) return uploads;
  return uploads.filter(({ id }) => uploadIdMarker !== undefined && id > uploadIdMarker);
}

function startOf({
  bucket,
  prefix,
  delimiter,
  keyMarker,
  uploadIdMarker,
}: ListUploadsRequest): KeyRange {
  const range = rangeOf("object", bucket.id, prefix);
  if (keyMarker === undefined) return range;
  const marker = registerKey("object", bucket.id, keyMarker);
  let from: RegisterKey;
  // A marker that is a whole group was the last thing listed: a key of that name would have been in the group.
  if (keyMarker.startsWith(prefix) && commonPrefixOf(keyMarker, prefix, delimiter) === keyMarker) {
    from = rangeOf("object", bucket.id, keyMarker).to;
  } else {
    from = uploadIdMarker === undefined ? justAfter(marker) : marker;
  }
  return compareUtf8(from, range.from) > 0 ? { from, to: range.to } : range;
}
