// Conditional headers, parsed. What they decide is decided by the coordinator: for writes inside the chain, or two
// writers could both win.
import { type ReadConditions } from "../../shared/object-service.ts";
import { type Precondition } from "../../shared/records.ts";
import { S3Error } from "./errors.ts";
import { parseHttpDate } from "./http-date.ts";
import { type RequestHeaders } from "../request-headers.ts";

const ETAG = /\s*(?:(\*)|(?:W\/)?"([^"]*)"|([^\s",*]+))\s*(?:,|$)/uy;

/** ETags without quotes, "*" for any. undefined when the header is not there. Throws InvalidArgument. */
export function parseEtags(header: string | null, name: string): readonly string[] | undefined {
  if (header === null) return undefined;
  const etags: string[] = [];
  ETAG.lastIndex = 0;
  while (ETAG.lastIndex < header.length) {
    const match = ETAG.exec(header);
    if (!match) {
      throw new S3Error("InvalidArgument", `Cannot read the entity tags of ${name}`, {
        ArgumentName: name,
        ArgumentValue: header,
      });
    }
    etags.push(match[1] ?? match[2] ?? match[3] ?? "");
  }
  if (etags.length === 0) return undefined;
  return etags;
}

/** @param prefix "" for the object itself, "x-amz-copy-source-" for a copy's source */
export function readConditions(headers: RequestHeaders, prefix = ""): ReadConditions {
  const date = (name: string): number | undefined => {
    const text = headers.get(prefix + name);
    // A date that cannot be read is ignored (RFC 9110 section 13.1.3).
    return text === null ? undefined : parseHttpDate(text);
  };
  return {
    ifMatch: parseEtags(headers.get(`${prefix}if-match`), `${prefix}if-match`),
    ifNoneMatch: parseEtags(headers.get(`${prefix}if-none-match`), `${prefix}if-none-match`),
    ifModifiedSinceMs: date("if-modified-since"),
    ifUnmodifiedSinceMs: date("if-unmodified-since"),
  };
}

/** If-Match and If-None-Match of a write. */
export function writePrecondition(headers: RequestHeaders): Precondition {
  const ifMatch = parseEtags(headers.get("if-match"), "if-match");
  const ifNoneMatch = parseEtags(headers.get("if-none-match"), "if-none-match");
  return {
    ...(ifMatch && { ifMatch: [...ifMatch] }),
    ...(ifNoneMatch && { ifNoneMatch: [...ifNoneMatch] }),
  };
}
