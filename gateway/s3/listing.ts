// ListObjects and ListObjectsV2. Order and paging are the coordinator's; here are their parameters and XML.
import { listKeysMax } from "../../shared/limits.ts";
import { type ListResult } from "../../shared/object-service.ts";
import { xmlAnswer } from "./answer.ts";
import { ownerElements } from "./buckets.ts";
import { type Call } from "./call.ts";
import { checksumKindElements } from "./checksums.ts";
import { S3Error } from "./errors.ts";
import { formatIsoDate } from "./http-date.ts";
import { type ListPosition, readListToken, writeListToken } from "./list-token.ts";
import { keyEncoder, keyText, pageSize } from "./parameters.ts";
import { type XmlElement } from "./xml-write.ts";

interface ListQuery {
  readonly prefix: string;
  readonly delimiter: string;
  /** 0..1000. */
  readonly limit: number;
  readonly position: ListPosition | undefined;
}

interface Page {
  readonly owner: string;
  readonly result: ListResult;
}

const EMPTY: ListResult = { entries: [], commonPrefixes: [], truncated: false, last: undefined };

/** Version 1: pages go on at a marker, which is a key or a common prefix in plain text. */
export async function listObjects(call: Call): Promise<Response> {
  const { type, encode } = keyEncoder(call);
  const { prefix, delimiter, limit } = commonQuery(call);
  const marker = keyText(call, "marker");
  const position = positionAfter(prefix, delimiter, marker);
  const { owner, result } = await page(call, { prefix, delimiter, limit, position });
  // S3 names the next marker only with a delimiter; without one it is the last key.
  const next = result.truncated && delimiter !== "" ? result.last?.after : undefined;
  return xmlAnswer(call, "ListBucketResult", [
    ["Name", call.route.bucket],
    ["Prefix", encode(prefix)],
    ["Marker", encode(marker)],
    ["NextMarker", next && encode(next)],
    ["MaxKeys", limit],
    ["Delimiter", delimiter === "" ? undefined : encode(delimiter)],
    ["EncodingType", type],
    ["IsTruncated", result.truncated],
    ...contents(result, encode, owner),
  ]);
}

/** Version 2: pages go on at an opaque, authenticated token. */
export async function listObjectsV2(call: Call): Promise<Response> {
  const { type, encode } = keyEncoder(call);
  const { prefix, delimiter, limit } = commonQuery(call);
  const startAfter = keyText(call, "start-after");
  const token = call.query("continuation-token");
  const question = { bucket: call.route.bucket, prefix, delimiter };
  const secret = call.config.tokenSecret;
  if (token === "") {
    throw new S3Error("InvalidArgument", "The continuation token provided is incorrect", {
      ArgumentName: "continuation-token",
    });
  }
  const position =
    token === undefined
      ? positionAfter(prefix, delimiter, startAfter)
      : readListToken(secret, question, token);
  const { owner, result } = await page(call, { prefix, delimiter, limit, position });
  const next =
    result.truncated && result.last ? writeListToken(secret, question, result.last) : undefined;
  const fetchOwner = call.query("fetch-owner") === "true";
  return xmlAnswer(call, "ListBucketResult", [
    ["Name", call.route.bucket],
    ["Prefix", encode(prefix)],
    ["StartAfter", startAfter === "" ? undefined : encode(startAfter)],
    ["ContinuationToken", token],
    ["NextContinuationToken", next],
    ["KeyCount", result.entries.length + result.commonPrefixes.length],
    ["MaxKeys", limit],
    ["Delimiter", delimiter === "" ? undefined : encode(delimiter)],
    ["EncodingType", type],
    ["IsTruncated", result.truncated],
    ...contents(result, encode, fetchOwner ? owner : undefined),
  ]);
}

function commonQuery(call: Call): { prefix: string; delimiter: string; limit: number } {
  return {
    prefix: keyText(call, "prefix"),
    delimiter: keyText(call, "delimiter"),
    limit: pageSize(call, "max-keys", listKeysMax),
  };
}

/**
 * Where a marker points. One that is itself a common prefix (the page before ended with it) goes on behind all keys
 * under it; any other behind that key.
 */
export function positionAfter(
  prefix: string,
  delimiter: string,
  marker: string,
): ListPosition | undefined {
  if (marker === "") return undefined;
  const rest = marker.startsWith(prefix) ? marker.slice(prefix.length) : "";
  const at = delimiter === "" ? -1 : rest.indexOf(delimiter);
  return { after: marker, afterPrefix: at >= 0 && at === rest.length - delimiter.length };
}

async function page(call: Call, query: ListQuery): Promise<Page> {
  return call.inBucket(async ({ bucket, service, record }) => {
    // max-keys=0 asks for nothing and is not truncated, but the bucket must exist.
    if (query.limit === 0) return { owner: record.owner, result: EMPTY };
    const result = await service.list({
      bucket,
      prefix: query.prefix,
      delimiter: query.delimiter,
      after: query.position?.after,
      afterPrefix: query.position?.afterPrefix ?? false,
      limit: query.limit,
    });
    return { owner: record.owner, result };
  });
}

function contents(
  result: ListResult,
  encode: (text: string) => string,
  owner: string | undefined,
): XmlElement[] {
  const rows = result.entries.map(({ key, entry }): XmlElement => [
    "Contents",
    [
      ["Key", encode(key)],
      ["LastModified", formatIsoDate(entry.lastModifiedMs)],
      ["ETag", `"${entry.etag}"`],
      ...checksumKindElements(entry.checksum),
      ["Size", entry.size],
      ["Owner", owner === undefined ? undefined : ownerElements(owner)],
      ["StorageClass", "STANDARD"],
    ],
  ]);
  const prefixes = result.commonPrefixes.map((common): XmlElement => [
    "CommonPrefixes",
    [["Prefix", encode(common)]],
  ]);
  return [...rows, ...prefixes];
}
