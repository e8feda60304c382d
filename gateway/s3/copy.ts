// CopyObject and UploadPartCopy: read through the service, written through the service. The gateway only passes the
// stream on; nothing is buffered.
import { objectBytesMax, partNumberMax } from "../../shared/limits.ts";
import { type GetResult, type PutResult, type RangeRequest } from "../../shared/object-service.ts";
import { assert } from "../../shared/errors.ts";
import { type Described } from "../../shared/records.ts";
import { releaseStream, slowXmlAnswer } from "./answer.ts";
import { type Call } from "./call.ts";
import { readConditions, writePrecondition } from "./conditions.ts";
import { S3Error } from "./errors.ts";
import { checkKey, checkNewKey, describedBy, refuseUnsupported } from "./headers.ts";
import { formatIsoDate } from "./http-date.ts";
import { checkVersion, partNumber, uploadId } from "./parameters.ts";
import { parseRange } from "./range.ts";
import { percentDecode } from "./target.ts";
import { type XmlContent } from "./xml-write.ts";

interface CopySource {
  readonly bucket: string;
  readonly key: string;
}

type FoundObject = Extract<GetResult, { type: "object" }>;

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

export async function copyObject(call: Call): Promise<Response> {
  checkNewKey(call.route.key);
  const source = sourceOf(call);
  const replaced = replacedDescription(call, source);
  const precondition = writePrecondition(call.headers);
  const requestId = call.requestId();
  const work = call.inBucket(async ({ bucket, service }): Promise<XmlContent> => {
    const found = await readSource(call, source, undefined);
    const { entry } = found;
    const result = await passOn(found, () =>
      service.put(
        {
          bucket,
          key: call.route.key,
          headers: replaced?.headers ?? entry.headers,
          metadata: replaced?.metadata ?? entry.metadata,
          body: {
            length: entry.size,
            encoding: "plain",
            // A plain ETag is the body's MD5: what arrives is what was stored.
            md5: /^[0-9a-f]{32}$/u.test(entry.etag) ? entry.etag : undefined,
          },
          precondition,
          requestId,
          again: call.again(),
        },
        found.body,
      ),
    );
    return copyResult(result);
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
  const requestId = call.requestId();
  const work = call.inBucket(async ({ bucket, service }): Promise<XmlContent> => {
    const found = await readSource(call, source, range);
    // A GET cuts a range at the object's end; a part that is shorter than asked for would be a silent loss.
    if (range && found.to <= range.to) {
      await releaseStream(found.body);
      const size = found.entry.size;
      throw new S3Error(
        "InvalidArgument",
        `Range specified is not valid for source object of size: ${size}`,
        {
          ArgumentName: "x-amz-copy-source-range",
          ArgumentValue: `bytes=${range.from}-${range.to}`,
        },
      );
    }
    const result = await passOn(found, () =>
      service.putPart(
        {
          bucket,
          key: call.route.key,
          uploadId: upload,
          partNumber: number,
          body: { length: found.to - found.from, encoding: "plain" },
          requestId,
        },
        found.body,
      ),
    );
    return copyResult(result);
  });
  return slowXmlAnswer(call, "CopyPartResult", work);
}

function copyResult(result: PutResult): XmlContent {
  return [
    ["LastModified", formatIsoDate(result.lastModifiedMs)],
    ["ETag", `"${result.etag}"`],
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

async function readSource(
  call: Call,
  source: CopySource,
  range: RangeRequest | undefined,
): Promise<FoundObject> {
  const conditions = readConditions(call.headers, "x-amz-copy-source-");
  const result = await call.inBucket(
    ({ bucket, service }) =>
      service.get({
        bucket,
        key: source.key,
        conditions,
        range,
        headOnly: false,
      }),
    source,
  );
  if (result.type === "notModified") throw new S3Error("PreconditionFailed");
  if (result.to - result.from > objectBytesMax) {
    await releaseStream(result.body);
    const message = `The specified copy source is larger than ${objectBytesMax} bytes`;
    throw new S3Error("InvalidRequest", message);
  }
  return result;
}

/** A source that the writer left unread must not stay open. */
async function passOn(found: FoundObject, write: () => Promise<PutResult>): Promise<PutResult> {
  try {
    return await write();
  } catch (error) {
    await releaseStream(found.body);
    throw error;
  }
}
