// The multipart upload, from Create to Complete, and its two listings.
import { listKeysMax, partNumberMax } from "../../shared/limits.ts";
import { RingstowError } from "../../shared/errors.ts";
import { emptyAnswer, slowXmlAnswer, xmlAnswer } from "./answer.ts";
import { planBodyOf } from "./body-plan.ts";
import { ownerElements } from "./buckets.ts";
import { type Call } from "./call.ts";
import {
  checksumElements,
  checksumHeaders,
  checksumKindElements,
  checksumType,
  checksumValueElements,
  type DeclaredChecksum,
  declaredChecksum,
  partChecksum,
  uploadChecksum,
  uploadChecksumHeaders,
} from "./checksums.ts";
import { writePrecondition } from "./conditions.ts";
import { S3Error } from "./errors.ts";
import { checkNewKey, describedBy, refuseUnsupported } from "./headers.ts";
import { formatIsoDate } from "./http-date.ts";
import { keyEncoder, keyText, pageSize, partNumber, uploadId } from "./parameters.ts";
import { readSmallBody } from "./small-body.ts";
import { strictEncode } from "./target.ts";
import { readXml } from "./xml-read.ts";
import { type XmlContent, type XmlElement } from "./xml-write.ts";
import { type RequestHeaders } from "../request-headers.ts";

export interface ListedPart {
  readonly partNumber: number;
  /** Unquoted. */
  readonly etag: string;
  readonly checksum: DeclaredChecksum | undefined;
}

export async function createMultipartUpload(call: Call): Promise<Response> {
  const { bucket: name, key } = call.route;
  checkNewKey(key);
  const described = describedBy(call.headers);
  const checksum = uploadChecksum(call.headers);
  const requestId = call.requestId();
  const upload = await call.inBucket(({ bucket, service }) =>
    service.createUpload({
      bucket,
      key,
      ...described,
      checksum,
      requestId,
    }),
  );
  const answer = xmlAnswer(call, "InitiateMultipartUploadResult", [
    ["Bucket", name],
    ["Key", key],
    ["UploadId", upload.id],
  ]);
  uploadChecksumHeaders(upload.checksum, answer.headers);
  return answer;
}

export async function uploadPart(call: Call): Promise<Response> {
  refuseUnsupported(call.headers);
  const number = partNumber(call)!;
  const upload = uploadId(call);
  const body = planBodyOf(call);
  const requestId = call.requestId();
  const result = await call.inBucket(({ bucket, service }) =>
    service.putPart(
      {
        bucket,
        key: call.route.key,
        uploadId: upload,
        partNumber: number,
        body,
        requestId,
      },
      call.body(),
    ),
  );
  const headers = call.newHeaders();
  headers.set("etag", `"${result.etag}"`);
  checksumHeaders(result.checksum, headers);
  headers.delete("x-amz-checksum-type"); // a part has none
  return emptyAnswer(call, 200, headers);
}

/** The list in the body of Complete. Throws MalformedXML or InvalidPartOrder. */
export function readPartList(xml: Uint8Array): readonly ListedPart[] {
  const parts = readXml(xml, "CompleteMultipartUpload")
    .all("Part")
    .map((part): ListedPart => {
      const number = part.value("PartNumber")?.trim() ?? "";
      const etag = part.value("ETag")?.trim();
      if (!/^\d{1,6}$/u.test(number) || !etag) {
        throw new S3Error("MalformedXML", "Every Part needs a PartNumber and an ETag");
      }
      return {
        partNumber: Number(number),
        etag: etag.replace(/^"(.*)"$/u, "$1"),
        checksum: partChecksum(part),
      };
    });
  if (parts.length === 0 || parts.length > partNumberMax) {
    throw new S3Error("MalformedXML", `The list must have 1 to ${partNumberMax} parts`);
  }
  let previous = 0;
  for (const part of parts) {
    if (part.partNumber <= previous) throw new RingstowError("InvalidPartOrder");
    previous = part.partNumber;
  }
  return parts;
}

export async function completeMultipartUpload(call: Call): Promise<Response> {
  const { bucket: name, key } = call.route;
  const upload = uploadId(call);
  const precondition = writePrecondition(call.headers);
  const checksum = declaredChecksum(call.headers, true);
  checkTypeOf(checksum, call.headers);
  const size = declaredSize(call.headers);
  // The header is of the object that comes to be, not of this list.
  const listed = readPartList(await readSmallBody(call, "unchecked"));
  const parts = listed.map((part) => ({ ...part, checksum: part.checksum?.value }));
  const requestId = call.requestId();
  const origin = call.config.publicUrl?.replace(/\/$/u, "") ?? "";
  const work = call
    .inBucket(({ bucket, service }) =>
      service.completeUpload({
        bucket,
        key,
        uploadId: upload,
        parts,
        checksum,
        size,
        precondition,
        requestId,
        again: call.again(),
      }),
    )
    .then((result): XmlContent => [
      ["Location", `${origin}/${name}/${strictEncode(key, true)}`],
      ["Bucket", name],
      ["Key", key],
      ["ETag", `"${result.etag}"`],
      ...checksumElements(result.checksum),
    ]);
  return slowXmlAnswer(call, "CompleteMultipartUploadResult", work);
}

function checkTypeOf(checksum: DeclaredChecksum | undefined, headers: RequestHeaders): void {
  const type = checksumType(headers);
  if (type !== "full" || !checksum?.value.includes("-")) return;
  throw new S3Error(
    "InvalidRequest",
    `Value for x-amz-checksum-${checksum.algorithm} header is invalid.`,
  );
}

/** x-amz-mp-object-size. */
function declaredSize(headers: RequestHeaders): number | undefined {
  const text = headers.get("x-amz-mp-object-size");
  if (text === null) return undefined;
  if (/^\d{1,15}$/u.test(text)) return Number(text);
  throw new S3Error("InvalidRequest", "Value for x-amz-mp-object-size header is invalid.");
}

export async function abortMultipartUpload(call: Call): Promise<Response> {
  const upload = uploadId(call);
  const requestId = call.requestId();
  await call.inBucket(({ bucket, service }) =>
    service.abortUpload({
      bucket,
      key: call.route.key,
      uploadId: upload,
      requestId,
    }),
  );
  return emptyAnswer(call, 204);
}

export async function listParts(call: Call): Promise<Response> {
  const { type, encode } = keyEncoder(call);
  const { bucket: name, key } = call.route;
  const id = uploadId(call);
  const limit = pageSize(call, "max-parts", listKeysMax);
  const after = pageSize(call, "part-number-marker", Number.MAX_SAFE_INTEGER);
  const marker = call.query("part-number-marker") ? Math.min(after, partNumberMax) : 0;
  const { owner, found } = await call.inBucket(async ({ bucket, service, record }) => ({
    owner: record.owner,
    found: await service.listParts({
      bucket,
      key,
      uploadId: id,
      after: marker,
      limit: Math.max(1, limit),
    }),
  }));
  const parts = limit === 0 ? [] : found.parts;
  const truncated = limit > 0 && found.truncated;
  return xmlAnswer(call, "ListPartsResult", [
    ["Bucket", name],
    ["Key", encode(key)],
    ["UploadId", id],
    ["PartNumberMarker", marker],
    ["NextPartNumberMarker", truncated ? parts.at(-1)?.partNumber : undefined],
    ["MaxParts", limit],
    ["EncodingType", type],
    ["IsTruncated", truncated],
    ...parts.map((part): XmlElement => [
      "Part",
      [
        ["PartNumber", part.partNumber],
        ["LastModified", formatIsoDate(part.lastModifiedMs)],
        ["ETag", `"${part.etag}"`],
        ["Size", part.size],
        ...checksumValueElements(part.checksum),
      ],
    ]),
    ["Initiator", ownerElements(owner)],
    ["Owner", ownerElements(owner)],
    ["StorageClass", "STANDARD"],
    ...checksumKindElements(found.upload.checksum),
  ]);
}

export async function listMultipartUploads(call: Call): Promise<Response> {
  const { type, encode } = keyEncoder(call);
  const prefix = keyText(call, "prefix");
  const delimiter = keyText(call, "delimiter");
  const keyMarker = keyText(call, "key-marker");
  const uploadIdMarker = call.query("upload-id-marker") ?? "";
  const limit = pageSize(call, "max-uploads", listKeysMax);
  const { owner, found } = await call.inBucket(async ({ bucket, service, record }) => ({
    owner: record.owner,
    found: await service.listUploads({
      bucket,
      prefix,
      delimiter,
      keyMarker: keyMarker === "" ? undefined : keyMarker,
      // An upload's id says nothing without its key.
      uploadIdMarker: keyMarker === "" || uploadIdMarker === "" ? undefined : uploadIdMarker,
      limit: Math.max(1, limit),
    }),
  }));
  const truncated = limit > 0 && found.truncated;
  const next = truncated ? found.nextKeyMarker : undefined;
  return xmlAnswer(call, "ListMultipartUploadsResult", [
    ["Bucket", call.route.bucket],
    ["KeyMarker", encode(keyMarker)],
    ["UploadIdMarker", uploadIdMarker],
    ["NextKeyMarker", next === undefined ? undefined : encode(next)],
    ["NextUploadIdMarker", truncated ? found.nextUploadIdMarker : undefined],
    ["Prefix", encode(prefix)],
    ["Delimiter", delimiter === "" ? undefined : encode(delimiter)],
    ["MaxUploads", limit],
    ["EncodingType", type],
    ["IsTruncated", truncated],
    ...(limit === 0 ? [] : found.uploads).map(({ key, upload }): XmlElement => [
      "Upload",
      [
        ["Key", encode(key)],
        ["UploadId", upload.id],
        ["Initiator", ownerElements(owner)],
        ["Owner", ownerElements(owner)],
        ["StorageClass", "STANDARD"],
        ["Initiated", formatIsoDate(upload.initiatedMs)],
        ...checksumKindElements(upload.checksum),
      ],
    ]),
    ...(limit === 0 ? [] : found.commonPrefixes).map((common): XmlElement => [
      "CommonPrefixes",
      [["Prefix", encode(common)]],
    ]),
  ]);
}
