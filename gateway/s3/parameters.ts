// Query parameters that several operations read.
import { partNumberMax } from "../../shared/limits.ts";
import { type UploadId } from "../../shared/ids.ts";
import { type Call } from "./call.ts";
import { S3Error } from "./errors.ts";
import { strictEncode } from "./target.ts";

function invalid(name: string, value: string, reason: string): S3Error {
  return new S3Error("InvalidArgument", reason, { ArgumentName: name, ArgumentValue: value });
}

/** A page size: 0 and more, cut at `max`, which is also the default. */
export function pageSize(call: Call, name: string, max: number): number {
  const text = call.query(name);
  if (text === undefined || text === "") return max;
  if (!/^\d{1,15}$/u.test(text)) {
    throw invalid(name, text, `Provided ${name} not an integer or within integer range`);
  }
  return Math.min(Number(text), max);
}

/** Text that stands for keys: no key has a NUL. */
export function keyText(call: Call, name: string): string {
  const text = call.query(name) ?? "";
  if (text.includes("\0")) throw invalid(name, text, `${name} must not contain NUL characters`);
  return text;
}

/** Writes keys as they are, or percent-encoded where the client asked for it. */
export function keyEncoder(call: Call): {
  type: string | undefined;
  encode: (text: string) => string;
} {
  const type = call.query("encoding-type");
  if (type === undefined || type === "") return { type: undefined, encode: (text) => text };
  if (type !== "url")
    throw invalid("encoding-type", type, "Invalid Encoding Method specified in Request");
  return { type, encode: (text) => strictEncode(text, true) };
}

/** 1 .. 10,000; undefined when it is not there. */
export function partNumber(call: Call): number | undefined {
  const text = call.query("partNumber");
  if (text === undefined) return undefined;
  const number = /^\d{1,6}$/u.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= partNumberMax) return number;
  const reason = `Part number must be an integer between 1 and ${partNumberMax}, inclusive`;
  throw invalid("partNumber", text, reason);
}

/** Throws NoSuchUpload for what cannot be an upload's id. */
export function uploadId(call: Call): UploadId {
  const text = call.query("uploadId") ?? "";
  if (!/^[0-9a-f]{32}$/u.test(text)) throw new S3Error("NoSuchUpload");
  return text as UploadId;
}

/** Without versioning an object has the one version "null". */
export function checkVersion(version: string | undefined): void {
  if (version !== undefined && version !== "" && version !== "null") {
    throw new S3Error("NoSuchVersion", undefined, { VersionId: version });
  }
}
