// CopyObject and UploadPartCopy. The nodes copy among themselves: no byte of the object passes the gateway.
import { assert, RingstowError } from "../../shared/errors.ts";
import { partNumberMax } from "../../shared/limits.ts";
import { type PutResult } from "../../shared/object-service.ts";
import { type Described } from "../../shared/records.ts";
import { slowXmlAnswer } from "./answer.ts";
import { type Call } from "./call.ts";
import { checksumElements, checksumValueElements } from "./checksums.ts";
import { readConditions, writePrecondition } from "./conditions.ts";
import { S3Error } from "./errors.ts";
import { checkKey, checkNewKey, describedBy, refuseUnsupported } from "./headers.ts";
import { formatIsoDate } from "./http-date.ts";
import { checkVersion, partNumber, uploadId } from "./parameters.ts";
import { parseRange } from "./range.ts";
import { percentDecode } from "./target.ts";
import { type XmlContent, type XmlElement } from "./xml-write.ts";

interface CopySource {
  readonly bucket: string;
  readonly key: string;
}

/** x-amz-copy-source: URL-encoded, a leading "/" or not, ?versionId= or not. Throws InvalidArgument. */
export function parseCopySource(header: string): CopySource {
  const mark = header.lastIndexOf("?versionId=");
  checkVersion(mark < 0 ? undefined : header.slice(mark + "?versionId=".length));
  const path = percentDecode(mark < 0 ? header : header.slice(0, mark)).replace(/^\//u, "");
  const slash = path.indexOf("/");
  if (slash <= 0 || slash === path.length - 1) {
    throw new S3Error(
      "InvalidArgument",
      "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
      { ArgumentName: "x-amz-copy-source", ArgumentValue: header },
    );
  }
  const key = path.slice(slash + 1);
  checkKey(key);
  return { bucket: path.slice(0, slash), key };
}

/**
 * A copy keeps its source's checksum; x-amz-checksum-algorithm, which asks for another one, is not heeded: computing it
 * would read all the bytes that hard links leave alone.
 */
export async function copyObject(call: Call): Promise<Response> {
  checkNewKey(call.route.key);
  const source = sourceOf(call);
  const described = replacedDescription(call, source);
  const precondition = writePrecondition(call.headers);
  const conditions = readConditions(call.headers, "x-amz-copy-source-");
  const requestId = call.requestId();
  const work = call.inBucket(async ({ bucket, service }): Promise<XmlContent> => {
    const result = await call.inBucket(
      (from) =>
        service.copy({
          bucket,
          key: call.route.key,
          source: { bucket: from.bucket, key: source.key, conditions },
          described,
          precondition,
          requestId,
          again: call.again(),
        }),
      source,
    );
    return copyResult(result, checksumElements(result.checksum));
  });
  return slowXmlAnswer(call, "CopyObjectResult", work);
}

export async function uploadPartCopy(call: Call): Promise<Response> {
  refuseUnsupported(call.headers);
  const source = sourceOf(call);
  const number = partNumber(call);
  assert(number !== undefined && number <= partNumberMax, "the router asks for a part number");
  const upload = uploadId(call);
  const range = sourceRange(call);
  const conditions = readConditions(call.headers, "x-amz-copy-source-");
  const requestId = call.requestId();
  const work = call.inBucket(async ({ bucket, service }): Promise<XmlContent> => {
    const copying = call.inBucket(
      (from) =>
        service.copyPart({
          bucket,
          key: call.route.key,
          uploadId: upload,
          partNumber: number,
          source: { bucket: from.bucket, key: source.key, conditions },
          range,
          requestId,
        }),
      source,
    );
    const result = await copying.catch((error: unknown) => {
      throw range ? rangeError(error, range) : error;
    });
    return copyResult(result, checksumValueElements(result.checksum));
  });
  return slowXmlAnswer(call, "CopyPartResult", work);
}

/** Where a GET cuts its range at the object's end, a copy refuses: a shorter part would be a silent loss. */
function rangeError(error: unknown, { from, to }: { from: number; to: number }): unknown {
  if (!(error instanceof RingstowError && error.code === "InvalidRange")) return error;
  return new S3Error(
    "InvalidArgument",
    `Range specified is not valid for source object of size: ${error.details["size"]}`,
    { ArgumentName: "x-amz-copy-source-range", ArgumentValue: `bytes=${from}-${to}` },
  );
}

function copyResult(result: PutResult, checksum: readonly XmlElement[]): XmlContent {
  return [
    ["LastModified", formatIsoDate(result.lastModifiedMs)],
    ["ETag", `"${result.etag}"`],
    ...checksum,
  ];
}

function sourceOf(call: Call): CopySource {
  const header = call.headers.get("x-amz-copy-source");
  assert(header !== null, "the router asks for x-amz-copy-source");
  return parseCopySource(header);
}

/** undefined: the source's own description is copied. Throws InvalidRequest for a copy that changes nothing. */
function replacedDescription(call: Call, source: CopySource): Described | undefined {
  const directive = call.headers.get("x-amz-metadata-directive") ?? "COPY";
  if (directive === "REPLACE") return describedBy(call.headers);
  if (directive !== "COPY") {
    throw new S3Error("InvalidArgument", `Unknown metadata directive "${directive}"`, {
      ArgumentName: "x-amz-metadata-directive",
      ArgumentValue: directive,
    });
  }
  refuseUnsupported(call.headers);
  if (source.bucket === call.route.bucket && source.key === call.route.key) {
    throw new S3Error(
      "InvalidRequest",
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata",
    );
  }
  return undefined;
}

function sourceRange(call: Call): { from: number; to: number } | undefined {
  const header = call.headers.get("x-amz-copy-source-range");
  if (header === null) return undefined;
  const range = parseRange(header);
  if (range && "from" in range && range.to !== undefined) return { from: range.from, to: range.to };
  throw new S3Error("InvalidArgument", "The x-amz-copy-source-range must be bytes=first-last", {
    ArgumentName: "x-amz-copy-source-range",
    ArgumentValue: header,
  });
}
