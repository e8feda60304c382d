// Calls, stream headers and stream messages of the data module.
//
// Stream "data.write": header, then chunks of the block, then end. Back come CopyReports, one chunk each, in JSON.
// Stream "data.read": header; back comes one ReadHead in JSON, then chunks, then end. A break says nothing more.
import * as z from "zod/mini";
import { blockIdSchema, blockRefSchema, nodeIdSchema } from "../records.ts";

const count = z.int().check(z.nonnegative());

/** The register that a block is staged for. */
export const blockOwnerSchema = z.object({ slice: count, key: z.string().check(z.minLength(33)) });

/** Names one run of a pipeline, so that giving up one copy never touches another run's. 32 hex digits. */
export const attemptSchema = z.string().check(z.regex(/^[0-9a-f]{32}$/u));

/** One node of a pipeline. */
export const placeSchema = z.object({ node: nodeIdSchema, address: z.string() });
export type Place = z.infer<typeof placeSchema>;

export const writeHeaderSchema = z.object({
  block: blockIdSchema,
  owner: blockOwnerSchema,
  attempt: attemptSchema,
  /** Nodes behind this one, in the order of forwarding. */
  next: z.array(placeSchema).check(z.maxLength(8)),
});
export type WriteHeader = z.infer<typeof writeHeaderSchema>;

/** What became of one copy. `blame`: the node itself failed, not only the line before it. */
export const copyReportSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("durable"), node: nodeIdSchema }),
  z.object({
    type: z.literal("failed"),
    node: nodeIdSchema,
    blame: z.boolean(),
    reason: z.string(),
  }),
]);
export type CopyReport = z.infer<typeof copyReportSchema>;

/** Bytes from..to (exclusive) of a block. */
export const readHeaderSchema = z.object({ block: blockIdSchema, from: count, to: count });
export type ReadHeader = z.infer<typeof readHeaderSchema>;

/** Sent once the first piece has been read and verified. */
export const readHeadSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("head") }),
  z.object({ type: z.literal("refused"), code: z.string(), message: z.string() }),
]);
export type ReadHead = z.infer<typeof readHeadSchema>;

export const dataCalls = {
  /** Deletes copies for good. A block that is not here counts as gone. */
  "data.delete": {
    request: z.object({ blocks: z.array(blockIdSchema) }),
    reply: z.object({ gone: z.array(blockIdSchema) }),
  },
  /** Gives up a staged copy, or one still being written: of these attempts, or of all when none is named. */
  "data.discard": {
    request: z.object({
      block: blockIdSchema,
      attempts: z.optional(z.array(attemptSchema).check(z.maxLength(16))),
    }),
    reply: z.object({}),
  },
  /** Pulls a copy from the replicas of a block. Answers when it is durable; one that is there already is success. */
  "data.pull": {
    request: z.object({ block: blockRefSchema, owner: blockOwnerSchema }),
    reply: z.object({}),
  },
  /**
   * Deletes this node's copy of a block if its register says that it was replaced, and nothing else. Answers whether it
   * is gone.
   */
  "data.release": {
    request: z.object({ block: blockIdSchema, owner: blockOwnerSchema }),
    reply: z.object({ gone: z.boolean() }),
  },
  /** Gives a block's bytes a second id. Answers when it is durable. */
  "data.link": {
    request: z.object({
      source: blockIdSchema,
      target: blockIdSchema,
      /** Bytes that the source must have. */
      size: count,
      owner: blockOwnerSchema,
      attempt: attemptSchema,
    }),
    reply: z.object({}),
  },
  /** Seals a draft, or answers for one that was sealed before. One that was never written to is its base. */
  "data.seal": {
    request: z.object({
      block: blockIdSchema,
      owner: blockOwnerSchema,
      base: z.optional(
        z.union([blockRefSchema, z.custom<Uint8Array>((value) => value instanceof Uint8Array)]),
      ),
    }),
    reply: z.object({ size: count, md5: z.string().check(z.regex(/^[0-9a-f]{32}$/u)) }),
  },
  /** Gives up a draft or its sealed block. */
  "data.drop": { request: z.object({ block: blockIdSchema }), reply: z.object({}) },
} as const;
