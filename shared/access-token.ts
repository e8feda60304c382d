// Short-lived tokens with which a client talks to one node directly: a gateway that has checked the client's signature
// issues one, the node that it names verifies it by the same secret. HMAC-SHA256 over the grant as JSON.
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import * as z from "zod/mini";
import { RingstowError } from "./errors.ts";
import { fromHex, toHex } from "./ids.ts";
import { blockIdSchema, bucketIdSchema, nodeIdSchema } from "./records.ts";

const count = z.int().check(z.nonnegative());
const common = {
  /** The node that may accept it. */
  node: nodeIdSchema,
  block: blockIdSchema,
  /** Wall ms after which it is refused. */
  untilMs: count,
};

/** What a token lets its bearer do. */
export const accessGrantSchema = z.discriminatedUnion("type", [
  /** Read a sealed block. */
  z.object({
    type: z.literal("read"),
    ...common,
    /** Bytes of the block. */
    size: count,
  }),
  /** Write bytes into a draft, as long as `fence` holds the lock of the object. */
  z.object({
    type: z.literal("write"),
    ...common,
    bucket: z.object({ id: bucketIdSchema, shards: count }),
    key: z.string(),
    fence: count,
  }),
]);
export type AccessGrant = z.infer<typeof accessGrantSchema>;

const encoder = new TextEncoder();

/** Text fit for a URL's query: hex of the grant's JSON, a dot, hex of its MAC. */
export function issueToken(secret: Uint8Array, grant: AccessGrant): string {
  const payload = encoder.encode(JSON.stringify(grant));
  return `${toHex(payload)}.${toHex(macOf(secret, payload))}`;
}

/** The grant. Throws AccessDenied when the token is forged, damaged, over, or of another node. */
export function openToken(
  secret: Uint8Array,
  token: string,
  at: { readonly node: string; readonly wallMs: number },
): AccessGrant {
  const match = /^((?:[0-9a-f]{2}){1,4096})\.([0-9a-f]{64})$/u.exec(token);
  const payload = match ? fromHex(match[1]!) : undefined;
  if (!payload || !equal(macOf(secret, payload), fromHex(match![2]!))) {
    throw new RingstowError("AccessDenied", "The access token is not valid");
  }
  const grant = accessGrantSchema.parse(JSON.parse(new TextDecoder().decode(payload)));
  if (grant.node !== at.node) {
    throw new RingstowError("AccessDenied", "The access token is for another node");
  }
  if (grant.untilMs < at.wallMs) {
    throw new RingstowError("AccessDenied", "The access token is over: look up again");
  }
  return grant;
}

function macOf(secret: Uint8Array, payload: Uint8Array): Uint8Array {
  return hmac(sha256, secret, concat(encoder.encode("access token 1\n"), payload));
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}

/** In a time that does not tell where they differ. */
function equal(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  for (const [i, byte] of a.entries()) difference |= byte ^ (b[i] ?? 0);
  return difference === 0;
}
