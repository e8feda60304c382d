// The request target, read from the raw bytes: no URL parser stands between the client's signature and ours, because
// URL parsers drop dot segments and turn "+" into a space. Path: strict-encode(decode(path)) once (SigV4 for S3).
import { targetBytesMax } from "../../shared/limits.ts";
import { S3Error } from "./errors.ts";

export interface Target {
  /** Decoded path, starts with "/". */
  readonly path: string;
  /** The path as SigV4 signs it. */
  readonly canonicalPath: string;
  readonly query: Query;
}

interface QueryParameter {
  readonly name: string;
  readonly value: string;
  /** Strictly encoded, for the signature. */
  readonly encodedName: string;
  readonly encodedValue: string;
}

/** Query parameters in the order they came. Repeated names count in the signature; the first one is read. */
export class Query {
  readonly parameters: readonly QueryParameter[];

  constructor(parameters: readonly QueryParameter[]) {
    this.parameters = parameters;
  }

  get(name: string): string | undefined {
    for (const parameter of this.parameters) if (parameter.name === name) return parameter.value;
    return undefined;
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }
}

const UNRESERVED = /^[A-Za-z0-9\-._~]*$/u;
const UNRESERVED_PATH = /^[A-Za-z0-9\-._~/]*$/u;
const ENCODED = Array.from(
  { length: 256 },
  (_, byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`,
);
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function invalid(raw: string): S3Error {
  return new S3Error("InvalidURI", `Couldn't parse the specified URI "${raw.slice(0, 100)}"`);
}

/** What "+" in a query means: itself, or, to clients that write queries as HTML forms do, a space. */
export type Plus = "plus" | "space";

/** Splits and decodes a raw target. Throws InvalidURI when it is not percent-encoded UTF-8. */
export function parseTarget(raw: string, plus: Plus = "plus"): Target {
  if (raw.length > targetBytesMax) throw invalid(raw);
  // An absolute form ("GET http://host/path") names the same path.
  const target = raw.startsWith("/") ? raw : raw.replace(/^[a-z]+:\/\/[^/?]*/iu, "");
  const mark = target.indexOf("?");
  const rawPath = mark < 0 ? target : target.slice(0, mark);
  if (rawPath !== "" && !rawPath.startsWith("/")) throw invalid(raw);
  const path = rawPath === "" ? "/" : rawPath;
  const decoded = percentDecode(path);
  return {
    path: decoded,
    canonicalPath: UNRESERVED_PATH.test(path) ? path : strictEncode(decoded, true),
    query: parseQuery(mark < 0 ? "" : target.slice(mark + 1), plus),
  };
}

function parseQuery(raw: string, plus: Plus): Query {
  const parameters: QueryParameter[] = [];
  const text = plus === "space" ? raw.replaceAll("+", "%20") : raw;
  for (const piece of text === "" ? [] : text.split("&")) {
    if (piece === "") continue;
    const equals = piece.indexOf("=");
    const name = percentDecode(equals < 0 ? piece : piece.slice(0, equals));
    const value = equals < 0 ? "" : percentDecode(piece.slice(equals + 1));
    parameters.push({
      name,
      value,
      encodedName: strictEncode(name),
      encodedValue: strictEncode(value),
    });
  }
  return new Query(parameters);
}

/** Decodes percent-encoding; "+" stays "+". Throws InvalidURI for a bad escape or bytes that are not UTF-8. */
export function percentDecode(raw: string): string {
  if (UNRESERVED_PATH.test(raw)) return raw;
  const bytes = new Uint8Array(raw.length);
  let length = 0;
  for (let i = 0; i < raw.length; i++) {
    let code = raw.charCodeAt(i);
    if (code === 0x25) {
      const digits = raw.slice(i + 1, i + 3);
      if (!/^[0-9A-Fa-f]{2}$/u.test(digits)) throw invalid(raw);
      code = Number.parseInt(digits, 16);
      i += 2;
    }
    if (code > 0xff) throw invalid(raw);
    bytes[length++] = code;
  }
  try {
    return decoder.decode(bytes.subarray(0, length));
  } catch {
    throw invalid(raw);
  }
}

/** SigV4's UriEncode: everything but A-Z a-z 0-9 - . _ ~ becomes %XX; "/" stays when asked. */
export function strictEncode(text: string, keepSlash = false): string {
  if ((keepSlash ? UNRESERVED_PATH : UNRESERVED).test(text)) return text;
  let encoded = "";
  for (const byte of encoder.encode(text)) {
    const plain =
      (byte >= 0x41 && byte <= 0x5a) ||
      (byte >= 0x61 && byte <= 0x7a) ||
      (byte >= 0x30 && byte <= 0x39) ||
      byte === 0x2d ||
      byte === 0x2e ||
      byte === 0x5f ||
      byte === 0x7e ||
      (keepSlash && byte === 0x2f);
    encoded += plain ? String.fromCharCode(byte) : ENCODED[byte];
  }
  return encoded;
}
