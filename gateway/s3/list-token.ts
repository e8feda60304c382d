// The continuation token of ListObjectsV2: where the next page starts, authenticated together with the bucket and
// the question, so that a client can neither forge one nor carry it to another listing.
// A "1", which no command line takes for an option as it would a hyphen; then in base64url 16 bytes of HMAC-SHA256, one
// flag, the last key in UTF-8.
import { utf8Length } from "../../shared/utf8.ts";
import { hmacSha256 } from "../auth/keys.ts";
import { S3Error } from "./errors.ts";

export interface ListPosition {
  readonly after: string;
  /** Set when `after` is a common prefix. */
  readonly afterPrefix: boolean;
}

/** What a token belongs to. */
export interface ListQuestion {
  readonly bucket: string;
  readonly prefix: string;
  readonly delimiter: string;
}

const START = "1";
const MAC_BYTES = 16;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function writeListToken(
  secret: Uint8Array,
  question: ListQuestion,
  position: ListPosition,
): string {
  const after = encoder.encode(position.after);
  const bytes = new Uint8Array(MAC_BYTES + 1 + after.length);
  bytes[MAC_BYTES] = position.afterPrefix ? 1 : 0;
  bytes.set(after, MAC_BYTES + 1);
  bytes.set(macOf(secret, question, bytes.subarray(MAC_BYTES)));
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return START + btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Throws InvalidArgument for a token that this cluster did not give out for this question. */
export function readListToken(
  secret: Uint8Array,
  question: ListQuestion,
  token: string,
): ListPosition {
  const digits = token.slice(START.length);
  if (token.startsWith(START) && /^[A-Za-z0-9_-]+$/u.test(digits) && digits.length % 4 !== 1) {
    const binary = atob(digits.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    const mac = macOf(secret, question, bytes.subarray(MAC_BYTES));
    let difference = bytes.length > MAC_BYTES ? 0 : 1;
    for (let i = 0; i < MAC_BYTES; i++) difference |= mac[i]! ^ (bytes[i] ?? 0);
    if (difference === 0) {
      const after = decoder.decode(bytes.subarray(MAC_BYTES + 1));
      return { after, afterPrefix: bytes[MAC_BYTES] === 1 };
    }
  }
  throw new S3Error("InvalidArgument", "The continuation token provided is incorrect", {
    ArgumentName: "continuation-token",
  });
}

function macOf(secret: Uint8Array, question: ListQuestion, position: Uint8Array): Uint8Array {
  const { bucket, prefix, delimiter } = question;
  // Lengths first: no two questions give the same bytes.
  const lengths = [bucket, prefix, delimiter].map(utf8Length).join(" ");
  const head = encoder.encode(`ringstow list token ${lengths} ${bucket}${prefix}${delimiter}`);
  const message = new Uint8Array(head.length + position.length);
  message.set(head);
  message.set(position, head.length);
  return hmacSha256(secret, message).subarray(0, MAC_BYTES);
}
