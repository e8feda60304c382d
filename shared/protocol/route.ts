// Calls of the route module: ring maintenance (Zave's corrected Chord), membership gossip, lookup, id grants.
import * as z from "zod/mini";
import { copiesSettingSchema } from "../copies.ts";
import { folderIdSchema } from "../genesis.ts";
import { hopsMax, tableRowsMax, witnessesMax } from "../limits.ts";
import { nodeIdSchema } from "../records.ts";

const count = z.int().check(z.nonnegative());
const ringIdSchema = z.pipe(
  z.string().check(z.regex(/^[0-9a-f]{32}$/u)),
  z.transform((text) => text as string & { readonly ringId: true }),
);

/** One line of the member table as a node stores it. */
export const memberRowSchema = z.object({
  id: nodeIdSchema,
  folder: folderIdSchema,
  url: z.string(),
  peerAddress: z.string(),
  zone: z.string(),
  position: z.optional(z.object({ latitude: z.number(), longitude: z.number() })),
  capacityBytes: count,
  freeBytes: count,
  incarnation: count,
  state: z.enum(["alive", "suspect", "dead", "left"]),
  sinceMs: z.number(),
  stamp: count,
});

const bytes = (length: number) =>
  z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === length);
const uint32 = z.int().check(z.minimum(0), z.maximum(0xffffffff));
const id = bytes(16);
const seconds = count;

/** Numbers of the states "alive", "suspect", "dead", "left" on the wire. */
export const stateNumberSchema = z.int().check(z.minimum(0), z.maximum(3));

/** A whole row as it travels: news of a node that started, or that says something new of itself. */
export const wireRowSchema = z.tuple([
  id,
  /** Data folder. */
  bytes(8),
  /** url */
  z.string(),
  /** peerAddress */
  z.string(),
  /** zone */
  z.string(),
  /** position */
  z.nullable(z.tuple([z.number(), z.number()])),
  /** capacityBytes */
  count,
  /** freeBytes */
  count,
  /** incarnation */
  count,
  stateNumberSchema,
  /** sinceMs in whole seconds */
  seconds,
  /** stamp */
  count,
]);

/**
 * What happened to a member whose row in that incarnation is known: id, incarnation, state, since when, and of a
 * suspect the first 32 bits of the ids of those who found it so. A fifth of a row.
 */
export const wireStandingSchema = z.tuple([
  id,
  count,
  stateNumberSchema,
  seconds,
  z.array(uint32).check(z.maxLength(witnessesMax)),
]);

/**
 * How many live members the sender sees, and the least of their ids: which side of a healed partition is smaller.
 * Said only to a node that counts as dead.
 */
const sideSchema = z.tuple([count, id]);

const rowHashes = z.array(uint32).check(z.maxLength(tableRowsMax));
const rows = z.array(wireRowSchema).check(z.maxLength(tableRowsMax));

/** Recent changes of the member table, and of the number of copies; what is empty is left out. */
const newsShape = {
  rows: z.optional(rows),
  standings: z.optional(z.array(wireStandingSchema).check(z.maxLength(tableRowsMax))),
  side: z.optional(sideSchema),
  copies: z.optional(copiesSettingSchema),
};

/** A ring pointer. `life` is the incarnation with which the node joined the ring; 0: not heard from yet. */
export const pointerToNodeSchema = z.object({ id: nodeIdSchema, life: count });

export const routeCalls = {
  /** State query of STABILIZE, STABILIZE-2 and JOIN. A joiner's newer life ends the older one at its neighbour. */
  "route.neighbours": {
    request: z.object({
      purpose: z.enum(["stabilize", "join"]),
      asker: pointerToNodeSchema,
      /** Hash of the callee's last answer, if the asker has it. */
      seen: z.optional(uint32),
    }),
    reply: z.discriminatedUnion("kind", [
      /** Waits for an answer that may change its state: ask again later. */
      z.object({ kind: z.literal("busy") }),
      /** Runs, but is no member of a ring. */
      z.object({ kind: z.literal("absent") }),
      /** The answer is the one that was seen. */
      z.object({ kind: z.literal("same") }),
      z.object({
        kind: z.literal("member"),
        life: count,
        predecessor: z.optional(pointerToNodeSchema),
        successors: z.array(pointerToNodeSchema).check(z.maxLength(16)),
      }),
    ]),
  },
  /** "I may be your predecessor": RECTIFY follows. */
  "route.notify": { request: pointerToNodeSchema, reply: z.object({}) },
  /**
   * Liveness, with recent changes of the member table in both directions. Always answered. `incarnation` is the
   * sender's, `known` the one of the receiver that the sender knows: who is behind gets the row.
   */
  "route.ping": {
    request: z.object({ incarnation: count, known: count, ...newsShape }),
    reply: z.object({
      incarnation: count,
      /** Incarnation with which the callee is in the ring; 0 when it is not. */
      life: count,
      /** The callee does not know the caller in this incarnation: tell it. */
      unknown: z.optional(z.literal(true)),
      ...newsShape,
    }),
  },
  /** Ping another node on the caller's behalf (SWIM's indirect probe). */
  "route.probe": {
    request: z.object({ id: nodeIdSchema, address: z.string() }),
    reply: z.object({ outcome: z.enum(["reached", "unreachable", "silent"]) }),
  },
  /**
   * Anti-entropy: one hash of the whole table; where it differs, the answer holds those of its 256 parts. `copies`: the
   * number of copies when it is not that of genesis any more; in the answer when it is later than the caller's.
   */
  "route.compare": {
    request: z.object({ digest: uint32, copies: z.optional(copiesSettingSchema) }),
    reply: z.object({
      digests: z.optional(z.array(uint32).check(z.maxLength(256))),
      copies: z.optional(copiesSettingSchema),
    }),
  },
  /**
   * The parts that differ: hashes of the caller's rows. The answer holds the callee's rows that the caller lacks, and
   * the hashes of those that the callee lacks.
   */
  "route.sift": {
    request: z.object({
      parts: z
        .array(z.tuple([z.int().check(z.minimum(0), z.maximum(255)), rowHashes]))
        .check(z.maxLength(256)),
    }),
    reply: z.object({ rows, lacking: rowHashes, side: z.optional(sideSchema) }),
  },
  /** Rows for the callee's table: the last part of an anti-entropy exchange, and a joiner's first word. */
  "route.tell": { request: z.object({ rows, side: z.optional(sideSchema) }), reply: z.object({}) },
  /**
   * One step of a lookup: whether the callee is responsible for the point, else whom to ask, best first. Nodes in
   * `silent` did not answer the caller: the callee decides as if they were not there.
   */
  "route.next": {
    request: z.object({
      point: ringIdSchema,
      silent: z.array(nodeIdSchema).check(z.maxLength(hopsMax)),
    }),
    reply: z.object({
      owner: z.boolean(),
      candidates: z.array(z.object({ id: nodeIdSchema, address: z.string() })),
    }),
  },
  /** Asks for the id of a new node; answered by the owner of the largest arc, others say whom to ask. */
  "route.grant": {
    request: z.object({ joiner: folderIdSchema, visited: z.array(nodeIdSchema) }),
    reply: z.discriminatedUnion("kind", [
      z.object({ kind: z.literal("granted"), id: nodeIdSchema }),
      /** `id` at `address` sees to the largest arc, says `from`, the callee. */
      z.object({
        kind: z.literal("elsewhere"),
        id: nodeIdSchema,
        address: z.string(),
        from: nodeIdSchema,
      }),
    ]),
  },
} as const;
