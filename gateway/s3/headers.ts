// Headers that S3 stores with an object, those it must not ignore, and those of every answer about an object.
import { contentHeadersBytesMax, keyBytesMax, metadataBytesMax } from "../../shared/limits.ts";
import { type ContentHeaders, type Described, type Entry } from "../../shared/records.ts";
import { utf8Length } from "../../shared/utf8.ts";
import { S3Error } from "./errors.ts";
import { formatHttpDate } from "./http-date.ts";
import { type Query } from "./target.ts";
import { type RequestHeaders } from "../request-headers.ts";

const CONTENT_HEADERS = {
  contentType: "content-type",
  contentEncoding: "content-encoding",
  contentLanguage: "content-language",
  contentDisposition: "content-disposition",
  cacheControl: "cache-control",
  expires: "expires",
} as const satisfies Record<keyof ContentHeaders, string>;

const META = "x-amz-meta-";

/** A header that asks for what Ringstow does not do: ignoring it would break a promise (encryption, locks). */
const REFUSED =
  /^x-amz-(?:server-side-encryption|object-lock-|tagging$|website-|write-offset|bucket-object-lock)/u;

/** ACLs that say nothing more than the bucket's owner rules. */
const HARMLESS_ACLS = new Set(["private", "bucket-owner-full-control", "bucket-owner-read"]);

/** What a header line can carry: bytes as Latin-1 characters, no controls but the tab. */
const HEADER_VALUE = /^[\t\u0020-\u007e\u0080-\u00ff]*$/u;
/** A header's name in lower case, behind `x-amz-meta-` (RFC 9110 section 5.6.2). */
const METADATA_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]*$/u;

/** Content headers and user metadata of a request. Metadata is Latin-1: the bytes that the client sent. */
export function describedBy(headers: RequestHeaders): Described {
  refuseUnsupported(headers);
  const found: Record<string, string> = {};
  for (const [field, name] of Object.entries(CONTENT_HEADERS)) {
    let value = headers.get(name);
    if (value !== null && name === "content-encoding") value = withoutAwsChunked(value);
    if (value !== null && value !== "") found[field] = value;
  }
  const metadata: [name: string, value: string][] = [];
  for (const [name, value] of headers) {
    if (name.startsWith(META)) metadata.push([name.slice(META.length), value]);
  }
  return checkedDescription(found, metadata);
}

/**
 * What is stored with an object, when every answer about it can carry that. Throws InvalidArgument, MetadataTooLarge or
 * RequestHeaderSectionTooLarge.
 */
export function checkedDescription(
  headers: ContentHeaders,
  metadata: readonly (readonly [name: string, value: string])[],
): Described {
  for (const [name, value] of [...Object.entries(headers), ...metadata]) {
    if (value === undefined || HEADER_VALUE.test(value)) continue;
    throw new S3Error("InvalidArgument", `No header can carry the value given for "${name}"`);
  }
  for (const [name] of metadata) {
    // A property of this name cannot be set: it would get lost.
    if (METADATA_NAME.test(name) && name !== "__proto__") continue;
    throw new S3Error("InvalidArgument", `Metadata cannot be called "${name}"`);
  }
  checkLength(metadata, metadataBytesMax, "MetadataTooLarge");
  checkLength(Object.entries(headers), contentHeadersBytesMax, "RequestHeaderSectionTooLarge");
  return { headers, metadata: Object.fromEntries(metadata) };
}

function checkLength(
  lines: readonly (readonly [name: string, value: string | undefined])[],
  max: number,
  code: "MetadataTooLarge" | "RequestHeaderSectionTooLarge",
): void {
  let bytes = 0;
  for (const [name, value] of lines) bytes += name.length + (value?.length ?? 0);
  if (bytes <= max) return;
  throw new S3Error(code, undefined, { Size: String(bytes), MaxSizeAllowed: String(max) });
}

/** "aws-chunked" names the transfer, not the content: it is taken out wherever it stands. */
export function withoutAwsChunked(encoding: string): string {
  return encoding
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "" && part.toLowerCase() !== "aws-chunked")
    .join(",");
}

/** Throws for headers whose promise could not be kept. */
export function refuseUnsupported(headers: RequestHeaders): void {
  for (const [name, value] of headers) {
    if (!name.startsWith("x-amz-")) continue;
    if (REFUSED.test(name) && value.toLowerCase() !== "false") {
      throw new S3Error("NotImplemented", `The header ${name} is not supported`, { Header: name });
    }
    if (name === "x-amz-storage-class" && value !== "STANDARD") {
      throw new S3Error("InvalidStorageClass");
    }
    if ((name === "x-amz-acl" && !HARMLESS_ACLS.has(value)) || name.startsWith("x-amz-grant-")) {
      throw new S3Error("AccessControlListNotSupported");
    }
  }
}

/** Which attempt of an SDK at one call this is, counted from 1: `amz-sdk-request: attempt=2; max=3`. */
export function sdkAttempt(headers: RequestHeaders): number {
  const match = /(?:^|;)\s*attempt=(\d{1,9})\s*(?:;|$)/u.exec(headers.get("amz-sdk-request") ?? "");
  return Math.max(1, Number(match?.[1] ?? 1));
}

/** Headers of GET, HEAD and 304. Content-Length and ranges are the caller's. */
export function entryHeaders(entry: Entry, headers: Headers): void {
  headers.set("etag", `"${entry.etag}"`);
  headers.set("last-modified", formatHttpDate(entry.lastModifiedMs));
  headers.set("accept-ranges", "bytes");
  headers.set("content-type", "binary/octet-stream");
  for (const [field, name] of Object.entries(CONTENT_HEADERS)) {
    const value = entry.headers[field as keyof ContentHeaders];
    if (value !== undefined) headers.set(name, value);
  }
  for (const [name, value] of Object.entries(entry.metadata)) headers.set(META + name, value);
}

/** Refuses response-* parameters that no header can hold, before anything is read. Throws InvalidArgument. */
export function checkOverrides(query: Query): void {
  for (const { name, value } of query.parameters) {
    // Controls end headers or forge new ones; the rest is what Latin-1 can show.
    if (!name.startsWith("response-") || /^[^\p{Cc}\u0100-\u{10ffff}]*$/u.test(value)) continue;
    throw new S3Error("InvalidArgument", "Header value cannot be represented using ISO-8859-1", {
      ArgumentName: name,
      ArgumentValue: value,
    });
  }
}

/** response-* parameters of a signed GET replace stored headers. */
export function overrideHeaders(query: Query, headers: Headers): void {
  for (const { name, value } of query.parameters) {
    if (name.startsWith("response-")) headers.set(name.slice("response-".length), value);
  }
}

/** A key as every operation takes it. Throws KeyTooLongError or InvalidArgument. */
export function checkKey(key: string): void {
  if (utf8Length(key) > keyBytesMax) {
    throw new S3Error("KeyTooLongError", undefined, {
      Size: String(utf8Length(key)),
      MaxSizeAllowed: String(keyBytesMax),
    });
  }
  if (key.includes("\0")) {
    throw new S3Error("InvalidArgument", "Object keys must not contain NUL characters");
  }
}

/** A key under which something may be written. */
export function checkNewKey(key: string): void {
  checkKey(key);
  if (key.split("/").some((segment) => segment === "." || segment === "..")) {
    throw new S3Error(
      "InvalidArgument",
      'Object keys must not have "." or ".." as a path segment: clients\' URL parsers remove it, and the object could not be reached',
    );
  }
}
