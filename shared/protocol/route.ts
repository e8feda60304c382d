// Calls of the route module: ring maintenance (Zave's corrected Chord), membership gossip, lookup, id grants.
import * as z from "zod/mini";
import { folderIdSchema } from "../genesis.ts";
import { hopsMax, tableRowsMax } from "../limits.ts";
import { nodeIdSchema } from "../records.ts";

const count = z.int().check(z.nonnegative());
const ringIdSchema = z.pipe(
  z.string().check(z.regex(/^[0-9a-f]{32}$/u)),
  z.transform((text) => text as string & { readonly ringId: true }),
);

/** One line of the member table. `stamp` grows when the node itself changes what it says within an incarnation. */
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

const rows = z.array(memberRowSchema).check(z.maxLength(tableRowsMax));

/** A ring pointer. `life` is the incarnation with which the node joined the ring; 0: not heard from yet. */
export const pointerToNodeSchema = z.object({ id: nodeIdSchema, life: count });

/** How many live members the sender sees, and the least of their ids: which side of a healed partition is smaller. */
const sideSchema = z.object({ live: count, least: nodeIdSchema });

export const routeCalls = {
  /** State query of STABILIZE, STABILIZE-2 and JOIN. A joiner's newer life ends the older one at its neighbour. */
  "route.neighbours": {
    request: z.object({
      purpose: z.enum(["stabilize", "join"]),
      asker: pointerToNodeSchema,
    }),
    reply: z.discriminatedUnion("kind", [
      /** Waits for an answer that may change its state: ask again later. */
      z.object({ kind: z.literal("busy") }),
      /** Runs, but is no member of a ring. */
      z.object({ kind: z.literal("absent") }),
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
  /** Liveness, with recent changes of the member table in both directions. Always answered. */
  "route.ping": {
    request: z.object({ rows, side: sideSchema }),
    reply: z.object({ rows, side: sideSchema, life: count }),
  },
  /** Ping another node on the caller's behalf (SWIM's indirect probe). */
  "route.probe": {
    request: z.object({ id: nodeIdSchema, address: z.string() }),
    reply: z.object({ outcome: z.enum(["reached", "unreachable", "silent"]) }),
  },
  /** Anti-entropy: hashes of 256 parts of the table; the answer holds the callee's rows of the parts that differ. */
  "route.compare": {
    request: z.object({ digests: z.array(count).check(z.maxLength(256)) }),
    reply: z.object({ differing: z.array(count), rows }),
  },
  /** Rows for the callee's table: the second half of an anti-entropy exchange, and a joiner's first word. */
  "route.tell": { request: z.object({ rows }), reply: z.object({}) },
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
