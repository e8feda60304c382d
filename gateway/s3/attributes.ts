// GetObjectAttributes: what HEAD knows, as XML, as far as the client asks for it.
import { listKeysMax, partNumberMax } from "../../shared/limits.ts";
import { type Entry } from "../../shared/records.ts";
import { xmlAnswer } from "./answer.ts";
import { type Call } from "./call.ts";
import { checksumElements, checksumValueElements } from "./checksums.ts";
import { readConditions } from "./conditions.ts";
import { S3Error } from "./errors.ts";
import { formatHttpDate } from "./http-date.ts";
import { checkVersion } from "./parameters.ts";
import { type XmlContent, type XmlElement } from "./xml-write.ts";
import { type RequestHeaders } from "../request-headers.ts";

const ATTRIBUTES = new Set(["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]);

export async function getObjectAttributes(call: Call): Promise<Response> {
  checkVersion(call.query("versionId"));
  const wanted = wantedAttributes(call.headers);
  const max = declaredNumber(call.headers, "x-amz-max-parts", listKeysMax);
  const marker = declaredNumber(call.headers, "x-amz-part-number-marker", partNumberMax);
  const result = await call.inBucket(({ bucket, service }) =>
    service.get({
      bucket,
      key: call.route.key,
      conditions: readConditions(call.headers),
      headOnly: true,
    }),
  );
  if (result.type === "notModified") return new Response(null, { status: 304 });
  const { entry, partsCount } = result;
  const checksum = checksumElements(entry.checksum);
  const all: readonly XmlElement[] = [
    // Unlike everywhere else S3 writes this ETag without quotes.
    ["ETag", entry.etag],
    ["Checksum", checksum.length === 0 ? undefined : checksum],
    [
      "ObjectParts",
      objectParts(entry, partsCount, marker ?? 0, Math.min(max ?? listKeysMax, listKeysMax)),
    ],
    ["StorageClass", "STANDARD"],
    ["ObjectSize", entry.size],
  ];
  const answer = xmlAnswer(
    call,
    "GetObjectAttributesResponse",
    all.filter(([name]) => wanted.has(name)),
  );
  answer.headers.set("last-modified", formatHttpDate(entry.lastModifiedMs));
  return answer;
}

/** undefined for an object that was not sent in parts. */
function objectParts(
  entry: Entry,
  partsCount: number | undefined,
  marker: number,
  max: number,
): XmlContent {
  if (partsCount === undefined) return undefined;
  const { body, checksum } = entry;
  const count: XmlElement = ["PartsCount", partsCount];
  // S3, too, lists parts only where they have checksums of their own.
  if (body.kind !== "parts" || body.parts.length === 0 || !checksum) return [count];
  const after = body.parts.filter(({ partNumber }) => partNumber > marker);
  const parts = after.slice(0, max);
  return [
    count,
    ["PartNumberMarker", marker],
    ["NextPartNumberMarker", parts.at(-1)?.partNumber ?? marker],
    ["MaxParts", max],
    ["IsTruncated", after.length > parts.length],
    ...parts.map(({ partNumber, size, checksum: value }): XmlElement => [
      "Part",
      [
        ["PartNumber", partNumber],
        ["Size", size],
        ...checksumValueElements(value === undefined ? undefined : { ...checksum, value }),
      ],
    ]),
  ];
}

function wantedAttributes(headers: RequestHeaders): ReadonlySet<string> {
  const names = (headers.get("x-amz-object-attributes") ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
  if (names.length > 0 && names.every((name) => ATTRIBUTES.has(name))) return new Set(names);
  throw new S3Error("InvalidArgument", "Invalid attribute name specified.", {
    ArgumentName: "x-amz-object-attributes",
    ArgumentValue: names.join(","),
  });
}

function declaredNumber(headers: RequestHeaders, name: string, max: number): number | undefined {
  const text = headers.get(name);
  if (text === null) return undefined;
  if (/^\d{1,6}$/u.test(text)) return Math.min(Number(text), max);
  throw new S3Error("InvalidArgument", `Provided ${name} is not an integer`, {
    ArgumentName: name,
    ArgumentValue: text,
  });
}
