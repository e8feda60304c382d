// The native HTTP API as one table: the gateway serves it, the OpenAPI document and the reference page are made of it,
// and the client (client.ts) calls by it. Paths are /v1/<resource>[/<bucket>[/<key>]]; a key may hold slashes.
import * as z from "zod/mini";
import {
  bestSchema,
  finishedSchema,
  grantedSchema,
  lookupSchema,
  queuedSchema,
} from "./native-service.ts";
import { blockIdSchema, bucketSchema, nodeIdSchema, requestIdSchema } from "./records.ts";

const count = z.int().check(z.nonnegative());
const text = z.string();

/** A native call. */
export interface NativeRoute {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "PATCH" | "DELETE";
  readonly resource: "buckets" | "objects" | "lookup" | "locks" | "finish";
  /** What follows the resource in the path. */
  readonly names: "none" | "bucket" | "key";
  readonly summary: string;
  /** Query parameters and what they mean. */
  readonly query?: Readonly<Record<string, string>>;
  /** Of the JSON body; "bytes": the body is the object's. */
  readonly request?: z.ZodMiniType | "bytes";
  /** Of success. */
  readonly status: 200 | 201 | 204;
  /** Other statuses of success, with the same reply, and when they are answered. */
  readonly otherwise?: Readonly<Record<number, string>>;
  readonly reply?: z.ZodMiniType | "bytes";
}

/** Each block's best replica for this client, with a URL that reads it without a gateway. */
export const lookupReplySchema = z.extend(lookupSchema, {
  /** Give it as `since` to wait for a change. */
  revision: text,
  best: z.array(
    z.extend(bestSchema, {
      readUrl: text,
      /** Wall ms after which the URL is refused. */
      readUntilMs: count,
    }),
  ),
});
export type LookupReply = z.infer<typeof lookupReplySchema>;

export const beginReplySchema = z.discriminatedUnion("state", [
  z.extend(grantedSchema, {
    requestId: requestIdSchema,
    /** PATCH bytes to it, with the header x-ringstow-offset. */
    writeUrl: text,
  }),
  z.extend(queuedSchema, { requestId: requestIdSchema }),
]);
export type BeginReply = z.infer<typeof beginReplySchema>;

export const beginRequestSchema = z.object({
  /** For people who look at the queue. */
  holder: z._default(text.check(z.maxLength(128)), ""),
  leaseMs: z._default(count, 30_000),
  /** Of an earlier answer: the same place in the queue, or the same grant. */
  requestId: z.optional(requestIdSchema),
  /** Waits so long for the grant, at most 20 s. */
  waitMs: z._default(count, 0),
});
export const renewRequestSchema = z.object({ fence: count });
export const finishRequestSchema = z.object({
  fence: count,
  node: nodeIdSchema,
  block: blockIdSchema,
  contentType: z.optional(text),
  metadata: z.optional(z.record(text, text)),
  requestId: z.optional(requestIdSchema),
});

export const listReplySchema = z.object({
  objects: z.array(
    z.object({ key: text, size: count, etag: text, version: count, lastModifiedMs: count }),
  ),
  commonPrefixes: z.array(text),
  truncated: z.boolean(),
  /** Give it as `after` for the next page. */
  next: z.optional(text),
});

export const NATIVE_ROUTES = {
  listBuckets: {
    method: "GET",
    resource: "buckets",
    names: "none",
    summary: "Buckets that the key may read",
    status: 200,
    reply: z.object({ buckets: z.array(bucketSchema) }),
  },
  createBucket: {
    method: "PUT",
    resource: "buckets",
    names: "bucket",
    summary: "Make a bucket",
    status: 201,
    reply: bucketSchema,
  },
  deleteBucket: {
    method: "DELETE",
    resource: "buckets",
    names: "bucket",
    summary: "Delete an empty bucket",
    status: 204,
  },
  listObjects: {
    method: "GET",
    resource: "objects",
    names: "bucket",
    summary: "Objects of a bucket in key order",
    query: {
      prefix: "Only keys that start with it",
      delimiter: "Keys with it behind the prefix are folded into one common prefix",
      after: "Start behind this key: `next` of the page before",
      limit: "Keys and prefixes of a page, 1 to 1000",
    },
    status: 200,
    reply: listReplySchema,
  },
  putObject: {
    method: "PUT",
    resource: "objects",
    names: "key",
    summary: "Store an object; If-Match and If-None-Match decide inside the write",
    request: "bytes",
    status: 200,
    reply: z.object({ etag: text, version: count, lastModifiedMs: count }),
  },
  getObject: {
    method: "GET",
    resource: "objects",
    names: "key",
    summary: "Bytes of an object; Range and conditions as in HTTP",
    status: 200,
    otherwise: { 206: "The range asked for" },
    reply: "bytes",
  },
  headObject: {
    method: "HEAD",
    resource: "objects",
    names: "key",
    summary: "Headers of an object",
    status: 200,
  },
  deleteObject: {
    method: "DELETE",
    resource: "objects",
    names: "key",
    summary: "Delete an object",
    status: 200,
    reply: z.object({ existed: z.boolean() }),
  },
  lookup: {
    method: "GET",
    resource: "lookup",
    names: "key",
    summary:
      "Where an identifier lives: logical id, path through the ring, chain, pointers, best replica and a URL that reads it",
    query: {
      since: "Wait until the revision differs from this one",
      wait: "Milliseconds to wait, at most 20000",
    },
    status: 200,
    reply: lookupReplySchema,
  },
  beginWrite: {
    method: "POST",
    resource: "locks",
    names: "key",
    summary:
      "Take the write lock, or a place in its queue (202); again with requestId and waitMs to wait",
    request: beginRequestSchema,
    status: 201,
    otherwise: { 202: "A place in the queue" },
    reply: beginReplySchema,
  },
  renewWrite: {
    method: "PATCH",
    resource: "locks",
    names: "key",
    summary: "A full lease from now",
    request: renewRequestSchema,
    status: 200,
    reply: z.object({ leaseMs: count }),
  },
  unlock: {
    method: "DELETE",
    resource: "locks",
    names: "key",
    summary: "Give the lock back, or leave the queue",
    query: { fence: "Of the grant", requestId: "Of the place in the queue, instead" },
    status: 204,
  },
  finishWrite: {
    method: "POST",
    resource: "finish",
    names: "key",
    summary: "Publish what was written as the next version, once enough copies are durable",
    request: finishRequestSchema,
    status: 200,
    reply: finishedSchema,
  },
} as const satisfies Record<string, NativeRoute>;

export type NativeCall = keyof typeof NATIVE_ROUTES;

export const nativeErrorSchema = z.object({
  code: text,
  message: text,
  requestId: text,
  details: z.record(text, text),
});

/** Path of a call with its names filled in, percent-encoded as SigV4 signs it. */
export function nativePath(
  { resource, names }: Pick<NativeRoute, "resource" | "names">,
  bucket: string,
  key: string,
): string {
  const encode = (part: string): string =>
    encodeURIComponent(part).replaceAll(
      /[!'()*]/gu,
      (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
    );
  const base = `/v1/${resource}`;
  if (names === "none") return base;
  const inBucket = `${base}/${encode(bucket)}`;
  return names === "bucket" ? inBucket : `${inBucket}/${key.split("/").map(encode).join("/")}`;
}
