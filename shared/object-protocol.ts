// How ObjectService crosses HTTP between a gateway and a node: one table, mounted by node/http.ts and called by
// gateway/upstream, each call signed (peer-auth.ts).
//   read:     GET /object/<method>, arguments as JSON in one header; the reply is JSON
//   download: as read, but the reply is a JSON head of `headBytesHeader` bytes, then the object's bytes
//   write:    POST /object/<method>, arguments are the JSON body; the reply is JSON
//   upload:   POST /object/<method>, arguments in the header, the body is the client's, untouched; the reply is JSON
// Reads are GETs without a body because those cost a server a third less.
// The head of a download stands in front of the bytes and not in a header, because headers have size limits that
// differ by runtime. A failure is the RingstowError's status with {code, message, details} as JSON.
import * as z from "zod/mini";
import { RingstowError, isErrorCode } from "./errors.ts";
import { type ObjectCall } from "./object-call.ts";
import { KEY_CALLS, type KeyService } from "./key-service.ts";
import { NATIVE_CALLS, type NativeService } from "./native-service.ts";
import { type GetRequest, type GetResult, type ObjectService } from "./object-service.ts";
import {
  bucketIdSchema,
  bucketSchema,
  checksumAlgorithmSchema,
  checksumSchema,
  describedSchema,
  entrySchema,
  nodeIdSchema,
  partSchema,
  preconditionSchema,
  requestIdSchema,
  uploadChecksumSchema,
  uploadIdSchema,
  uploadSchema,
  type Entry,
} from "./records.ts";

/** Request header with the signature and the client's place (peer-auth.ts). */
export const authHeader = "x-ringstow-auth";
/** Request header with the arguments of every call but a write, as ASCII JSON. */
export const argumentsHeader = "x-ringstow-arguments";
/** Response header of a download: bytes of JSON in front of the object's bytes. */
export const headBytesHeader = "x-ringstow-head-bytes";

export const objectPath = "/object/";
export const membersPath = "/members";
export const healthPath = "/health";
export const statusPath = "/status";
/** What replicas hold, for comparing them: {"<slice>": "<hex digest of (key, version) pairs>"} of each slice held. */
export const digestsPath = "/digests";

const count = z.int().check(z.nonnegative());
const text = z.string();
const bucketRef = z.object({ id: bucketIdSchema, shards: count });
const bodyPlan = z.object({
  length: z.optional(count),
  encoding: z.enum(["plain", "aws-chunked"]),
  md5: z.optional(text),
  sha256: z.optional(text),
  checksum: z.optional(z.object({ algorithm: checksumAlgorithmSchema, value: z.optional(text) })),
  trailers: z.optional(z.array(text)),
  signing: z.optional(z.object({ sealedKey: text, seed: text, timestamp: text, scope: text })),
});
const inBucket = z.object({ bucket: bucketRef, key: text });
const inUpload = z.extend(inBucket, { uploadId: uploadIdSchema });
const writing = {
  precondition: preconditionSchema,
  requestId: requestIdSchema,
  again: z.optional(z.boolean()),
};
const putResult = z.object({
  etag: text,
  version: count,
  lastModifiedMs: count,
  checksum: z.optional(checksumSchema),
});
const readConditions = z.object({
  ifMatch: z.optional(z.array(text)),
  ifNoneMatch: z.optional(z.array(text)),
  ifModifiedSinceMs: z.optional(z.number()),
  ifUnmodifiedSinceMs: z.optional(z.number()),
});
const copySource = z.extend(inBucket, { conditions: readConditions });
const rangeRequest = z.union([
  z.object({ from: count, to: z.optional(count) }),
  z.object({ suffix: count }),
]);
const getHead = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("object"),
    entry: entrySchema,
    from: count,
    to: count,
    partial: z.boolean(),
    partsCount: z.optional(count),
  }),
  z.object({ type: z.literal("notModified"), entry: entrySchema }),
]);
const listPlace = z.object({ after: text, afterPrefix: z.boolean() });

/** A GetResult without its body. */
export type GetHead = z.infer<typeof getHead>;

/** Every method of NodeService. */
export const OBJECT_CALLS = {
  createBucket: {
    kind: "write",
    request: z.object({ name: text, owner: text, requestId: requestIdSchema }),
    reply: bucketSchema,
  },
  getBucket: { kind: "read", request: z.object({ name: text }), reply: bucketSchema },
  deleteBucket: {
    kind: "write",
    request: z.object({ name: text, requestId: requestIdSchema }),
    reply: z.null(),
  },
  listBuckets: {
    kind: "read",
    request: z.object({ after: z.optional(text), limit: count }),
    reply: z.object({ buckets: z.array(bucketSchema), truncated: z.boolean() }),
  },
  put: {
    kind: "upload",
    request: z.extend(describedSchema, {
      bucket: bucketRef,
      key: text,
      body: bodyPlan,
      ...writing,
    }),
    reply: putResult,
  },
  get: {
    kind: "download",
    request: z.extend(inBucket, {
      conditions: readConditions,
      range: z.optional(rangeRequest),
      ifRange: z.optional(text),
      partNumber: z.optional(count),
      headOnly: z.boolean(),
    }),
    reply: getHead,
  },
  delete: {
    kind: "write",
    request: z.extend(inBucket, writing),
    reply: z.object({ existed: z.boolean() }),
  },
  list: {
    kind: "read",
    request: z.object({
      bucket: bucketRef,
      prefix: text,
      delimiter: text,
      after: z.optional(text),
      afterPrefix: z.boolean(),
      limit: count,
    }),
    reply: z.object({
      entries: z.array(z.object({ key: text, entry: entrySchema })),
      commonPrefixes: z.array(text),
      truncated: z.boolean(),
      last: z.optional(listPlace),
    }),
  },
  copy: {
    kind: "write",
    request: z.extend(inBucket, {
      source: copySource,
      described: z.optional(describedSchema),
      ...writing,
    }),
    reply: putResult,
  },
  copyPart: {
    kind: "write",
    request: z.extend(inUpload, {
      partNumber: count,
      source: copySource,
      range: z.optional(z.object({ from: count, to: count })),
      requestId: requestIdSchema,
    }),
    reply: putResult,
  },
  createUpload: {
    kind: "write",
    request: z.extend(describedSchema, {
      bucket: bucketRef,
      key: text,
      checksum: z.optional(uploadChecksumSchema),
      requestId: requestIdSchema,
    }),
    reply: uploadSchema,
  },
  putPart: {
    kind: "upload",
    request: z.extend(inUpload, {
      partNumber: count,
      body: bodyPlan,
      requestId: requestIdSchema,
    }),
    reply: putResult,
  },
  completeUpload: {
    kind: "write",
    request: z.extend(inUpload, {
      parts: z.array(z.object({ partNumber: count, etag: text, checksum: z.optional(text) })),
      checksum: z.optional(z.object({ algorithm: checksumAlgorithmSchema, value: text })),
      size: z.optional(count),
      ...writing,
    }),
    reply: putResult,
  },
  abortUpload: {
    kind: "write",
    request: z.extend(inUpload, { requestId: requestIdSchema }),
    reply: z.null(),
  },
  listParts: {
    kind: "read",
    request: z.extend(inUpload, { after: count, limit: count }),
    reply: z.object({
      upload: uploadSchema,
      parts: z.array(z.extend(partSchema, { partNumber: count })),
      truncated: z.boolean(),
    }),
  },
  listUploads: {
    kind: "read",
    request: z.object({
      bucket: bucketRef,
      prefix: text,
      delimiter: text,
      keyMarker: z.optional(text),
      uploadIdMarker: z.optional(text),
      limit: count,
    }),
    reply: z.object({
      uploads: z.array(z.object({ key: text, upload: uploadSchema })),
      commonPrefixes: z.array(text),
      truncated: z.boolean(),
      nextKeyMarker: z.optional(text),
      nextUploadIdMarker: z.optional(text),
    }),
  },
  ...KEY_CALLS,
  ...NATIVE_CALLS,
} as const satisfies Record<keyof NodeService, ObjectCall>;

/** All that a node offers to gateways. */
export type NodeService = ObjectService & KeyService & NativeService;

export type ObjectMethod = keyof typeof OBJECT_CALLS;

/** Methods whose request tells, by `again`, that it was sent before. */
export const CONDITIONAL_WRITES: ReadonlySet<ObjectMethod> = new Set([
  "put",
  "copy",
  "delete",
  "completeUpload",
] as const satisfies readonly ObjectMethod[]);

/** How a call is sent: its HTTP method and path, which are signed with the arguments. */
export function targetOf(method: ObjectMethod): { method: "GET" | "POST"; path: string } {
  const { kind } = OBJECT_CALLS[method];
  const reads = kind === "read" || kind === "download";
  return { method: reads ? "GET" : "POST", path: objectPath + method };
}

export function isObjectMethod(name: string): name is ObjectMethod {
  return Object.hasOwn(OBJECT_CALLS, name);
}

/** What `GET /members` answers: the live nodes, for choosing one. */
export const memberTableSchema = z.object({
  sliceBits: count,
  /** By rising id. */
  members: z.array(
    z.object({
      id: nodeIdSchema,
      url: text,
      zone: text,
      position: z.optional(z.object({ latitude: z.number(), longitude: z.number() })),
      freeBytes: count,
      /** Requests under way, as far as the answering node knows. */
      load: count,
    }),
  ),
});
export type MemberTable = z.infer<typeof memberTableSchema>;
export type MemberView = MemberTable["members"][number];

export const failureSchema = z.object({
  code: text,
  message: text,
  details: z.record(text, text),
});

/** The error that a failed call's JSON stands for; Internal when the node speaks of a code unknown here. */
export function errorOfReply(status: number, json: unknown): RingstowError {
  const parsed = failureSchema.safeParse(json);
  if (!parsed.success || !isErrorCode(parsed.data.code)) {
    const code = status === 503 ? "Unavailable" : "Internal";
    return new RingstowError(code, `Cannot read a node's answer with status ${status}`);
  }
  return new RingstowError(parsed.data.code, parsed.data.message, parsed.data.details);
}

/**
 * The head of a get. Beside bytes and in lists an entry travels without its block list, which may be long and which
 * no gateway needs there; HEAD carries all of it.
 */
export function headOf(result: GetResult, request: Pick<GetRequest, "headOnly">): GetHead {
  const entry = request.headOnly ? result.entry : withoutBlocks(result.entry);
  if (result.type === "notModified") return { type: "notModified", entry };
  const { from, to, partial, partsCount } = result;
  return { type: "object", entry, from, to, partial, partsCount };
}

/** An entry whose body tells its kind only. */
export function withoutBlocks(entry: Entry): Entry {
  switch (entry.body.kind) {
    case "inline":
      return entry;
    case "blocks":
      return { ...entry, body: { kind: "blocks", blocks: [] } };
    case "parts":
      return { ...entry, body: { ...entry.body, parts: [] } };
  }
}

const PRINTABLE_ASCII = /^[ -~]*$/u;

/** JSON in printable ASCII, fit for a header line. */
export function toAsciiJson(value: unknown): string {
  const json = JSON.stringify(value);
  if (PRINTABLE_ASCII.test(json)) return json;
  return json.replaceAll(/[\u007f-\u{10ffff}]/gu, (character) => {
    let escaped = "";
    for (let i = 0; i < character.length; i++)
      escaped += `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`;
    return escaped;
  });
}
