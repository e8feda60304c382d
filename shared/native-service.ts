// The paper's own workflow: look an identifier up, read from the best replica, write under a lock (sections 3.2, 3.3).
// A native write works on one block: objects of at most `blockBytesMax` bytes. It never changes a sealed block: bytes
// go to a draft, a new block on one node, begun as a copy of the present bytes; `finishWrite` seals the draft, other
// nodes pull it, and the chain names it once writeQuorum copies are durable. All calls throw RingstowError.
import * as z from "zod/mini";
import { type BlockId, type NodeId, type RequestId } from "./ids.ts";
import { type Position } from "./nearest.ts";
import { type ObjectCall } from "./object-call.ts";
import { type BucketRef } from "./object-service.ts";
import {
  blockIdSchema,
  bucketIdSchema,
  describedSchema,
  entrySchema,
  nodeIdSchema,
  requestIdSchema,
} from "./records.ts";

/** Where the client is, as its gateway saw it; nodes choose the nearest replica by it. */
export interface NativeClient {
  readonly ip?: string | undefined;
  readonly position?: Position | undefined;
}

interface InBucket {
  readonly bucket: BucketRef;
  readonly key: string;
}

const count = z.int().check(z.nonnegative());
const text = z.string();
const inBucket = { bucket: z.object({ id: bucketIdSchema, shards: count }), key: text };
const client = z.object({
  ip: z.optional(text),
  position: z.optional(z.object({ latitude: z.number(), longitude: z.number() })),
});

/** A node as the lookup names it. */
const nodeNameSchema = z.object({ id: nodeIdSchema, url: text, zone: text });
export type NodeName = z.infer<typeof nodeNameSchema>;

const holderSchema = z.object({ holder: text, requestId: requestIdSchema, leaseMs: count });

/** The replica of a block that suits a client best, and why. */
export const bestSchema = z.object({
  block: blockIdSchema,
  size: count,
  node: nodeNameSchema,
  reason: z.enum(["only", "position", "address", "zone", "load"]),
});

/** What a lookup tells of an identifier. */
export const lookupSchema = z.object({
  /** 32 hex digits: the point on the ring. */
  logicalId: text,
  /** Calls to other nodes that the ring's lookup needed. */
  hops: count,
  /** Nodes visited, in order. */
  path: z.array(nodeIdSchema),
  /** Who the ring says is responsible: a hint. */
  owner: nodeNameSchema,
  /** The authority: who votes on this chain, the leader first if it is known. */
  view: z.object({
    slice: count,
    epoch: count,
    members: z.array(nodeIdSchema),
    leader: z.optional(nodeIdSchema),
  }),
  chain: z.object({
    /** 0 before the first write. */
    version: count,
    /** Newest first; blocks with all pointers (node, version). Empty: no such object. */
    entries: z.array(entrySchema),
    lock: z.optional(z.extend(holderSchema, { fence: count })),
    queue: z.array(holderSchema),
    /** Highest fence granted so far. */
    fence: count,
  }),
  /** For each block, in order: the replica that suits this client best, and why. Empty when the body is inline. */
  best: z.array(bestSchema),
});
export type Lookup = z.infer<typeof lookupSchema>;

export const grantedSchema = z.object({
  state: z.literal("granted"),
  /** Grows with every grant; all that follows names it. */
  fence: count,
  /** From now, on the index node's clock. */
  leaseMs: count,
  /** Where to write. */
  node: nodeNameSchema,
  /** The draft. */
  block: blockIdSchema,
  /** Version of the bytes that the draft starts from; 0: from nothing. */
  baseVersion: count,
  /** Bytes of the base. */
  baseSize: count,
});
export const queuedSchema = z.object({
  state: z.literal("queued"),
  /** 0: next. */
  place: count,
});

/** Outcome of beginning a write. */
export const beginSchema = z.discriminatedUnion("state", [grantedSchema, queuedSchema]);
export type Begin = z.infer<typeof beginSchema>;

/** A pointer of the written block, as a writer watches it. */
const replicaStateSchema = z.object({ node: nodeNameSchema, version: count });

export const finishedSchema = z.object({
  version: count,
  etag: text,
  size: count,
  lastModifiedMs: count,
  /** A pointer behind `version` gets no reader until its node is repaired. */
  replicas: z.array(replicaStateSchema),
  /** Whether the lock is open again: all replicas are equal. */
  unlocked: z.boolean(),
});
export type Finished = z.infer<typeof finishedSchema>;

export interface NativeService {
  /**
   * With `waitMs`, answers when the chain's version, lock, queue or pointers differ from `since` (the `revision` of an
   * earlier answer), or when the time is over. Never fails because there is no such object.
   */
  lookup(
    request: InBucket & {
      client: NativeClient;
      since?: string | undefined;
      waitMs?: number | undefined;
    },
  ): Promise<Lookup & { revision: string }>;
  /**
   * Takes the lock, or a place in its queue. The same requestId again: the same grant or place; with `waitMs` it
   * waits for the grant that long. Throws EntityTooLarge for an object of more than one block.
   */
  beginWrite(
    request: InBucket & {
      holder: string;
      leaseMs: number;
      requestId: RequestId;
      client: NativeClient;
      waitMs?: number | undefined;
    },
  ): Promise<Begin>;
  /** A full lease from now. Throws FenceTooOld. */
  renewWrite(request: InBucket & { fence: number }): Promise<{ leaseMs: number }>;
  /**
   * Seals the draft and publishes it as the next version. Answers once writeQuorum copies are durable and the chain
   * names them; the others follow while the lock is held. Throws FenceTooOld, NoSuchKey when nothing was written.
   */
  finishWrite(
    request: InBucket & {
      fence: number;
      node: NodeId;
      block: BlockId;
      described?: z.infer<typeof describedSchema> | undefined;
      requestId: RequestId;
    },
  ): Promise<Finished>;
  /** Opens the lock and grants the next; a draft that was not finished is given up. Throws FenceTooOld. */
  unlock(request: InBucket & { fence: number; requestId: RequestId }): Promise<void>;
  /** Leaves the queue, or gives the lock back, by the requestId that asked for it. */
  cancelWrite(request: InBucket & { requestId: RequestId }): Promise<void>;
}

export const NATIVE_CALLS = {
  lookup: {
    kind: "read",
    request: z.object({
      ...inBucket,
      client,
      since: z.optional(text),
      waitMs: z.optional(count),
    }),
    reply: z.extend(lookupSchema, { revision: text }),
  },
  beginWrite: {
    kind: "write",
    request: z.object({
      ...inBucket,
      holder: text,
      leaseMs: count,
      requestId: requestIdSchema,
      client,
      waitMs: z.optional(count),
    }),
    reply: beginSchema,
  },
  renewWrite: {
    kind: "write",
    request: z.object({ ...inBucket, fence: count }),
    reply: z.object({ leaseMs: count }),
  },
  finishWrite: {
    kind: "write",
    request: z.object({
      ...inBucket,
      fence: count,
      node: nodeIdSchema,
      block: blockIdSchema,
      described: z.optional(describedSchema),
      requestId: requestIdSchema,
    }),
    reply: finishedSchema,
  },
  unlock: {
    kind: "write",
    request: z.object({ ...inBucket, fence: count, requestId: requestIdSchema }),
    reply: z.null(),
  },
  cancelWrite: {
    kind: "write",
    request: z.object({ ...inBucket, requestId: requestIdSchema }),
    reply: z.null(),
  },
} as const satisfies Record<keyof NativeService, ObjectCall>;
