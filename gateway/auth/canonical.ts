// SigV4's canonical request and string to sign (AWS: "Create a signed AWS API request"). Pure text: every character
// stands for one byte (Latin-1), as HTTP headers arrive.
import { type Message, sha256Hex } from "../../shared/sha256.ts";
import { type Query } from "../s3/target.ts";

export interface CanonicalParts {
  readonly method: string;
  readonly canonicalPath: string;
  readonly canonicalQuery: string;
  /** name -> canonical value, in the order of SignedHeaders. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The payload hash exactly as the client declared it. */
  readonly payloadHash: string;
}

const ASCII = /^[\0-\x7f]*$/u;

/** The message whose bytes are a string's characters, all below U+0100. */
export function latin1Message(text: string): Message {
  if (ASCII.test(text)) return text;
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/**
 * Trimmed, inner spaces collapsed. Only ASCII's: the character U+00A0 is a byte here, the second one of "à" in UTF-8.
 */
export function canonicalHeaderValue(value: string): string {
  if (!/^[ \t]|[ \t]$|[ \t]{2}|[\t\r\n]/u.test(value)) return value;
  const collapsed = value.replace(/[ \t\r\n]+/gu, " ");
  return collapsed.slice(
    collapsed.startsWith(" ") ? 1 : 0,
    collapsed.endsWith(" ") ? -1 : undefined,
  );
}

/** All parameters but the signature, sorted by encoded name, then value. */
export function canonicalQueryOf(query: Query): string {
  const { parameters } = query;
  if (parameters.length === 0) return "";
  return parameters
    .filter(({ name }) => name !== "X-Amz-Signature")
    .toSorted((a, b) =>
      a.encodedName === b.encodedName
        ? compare(a.encodedValue, b.encodedValue)
        : compare(a.encodedName, b.encodedName),
    )
    .map(({ encodedName, encodedValue }) => `${encodedName}=${encodedValue}`)
    .join("&");
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function canonicalRequestOf(parts: CanonicalParts): string {
  let headers = "";
  let names = "";
  for (const [name, value] of parts.headers) {
    headers += `${name}:${value}\n`;
    names += names === "" ? name : `;${name}`;
  }
  return `${parts.method}\n${parts.canonicalPath}\n${parts.canonicalQuery}\n${headers}\n${names}\n${parts.payloadHash}`;
}

/** @param timestamp YYYYMMDDTHHMMSSZ  @param scope date/region/service/aws4_request */
export function stringToSignOf(timestamp: string, scope: string, canonicalRequest: string): string {
  return `AWS4-HMAC-SHA256\n${timestamp}\n${scope}\n${sha256Hex(latin1Message(canonicalRequest))}`;
}
