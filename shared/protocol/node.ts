// Calls about a node as a whole.
import * as z from "zod/mini";
import { copiesSchema, copiesSettingSchema } from "../copies.ts";
import { genesisSchema } from "../genesis.ts";
import { type RequestId } from "../ids.ts";

const count = z.int().check(z.nonnegative());

/** A member as one node's table has it. */
export const memberStatusSchema = z.object({
  id: z.string(),
  url: z.string(),
  zone: z.string(),
  state: z.enum(["alive", "suspect", "dead", "left"]),
  /** Wall milliseconds at which the state began. */
  sinceMs: z.number(),
});
export type MemberStatus = z.infer<typeof memberStatusSchema>;

export const nodeStatusSchema = z.object({
  id: z.string(),
  zone: z.string(),
  url: z.string(),
  /** host:port of its peer link. */
  peerAddress: z.string(),
  incarnation: count,
  /** Milliseconds since start. */
  upMs: count,
  /** Share of the ring, 0..1. */
  arcShare: z.number(),
  freeBytes: count,
  totalBytes: count,
  /** Bytes that blocks use. */
  usedBytes: count,
  blocks: count,
  /** Live chains of the slices held. */
  chains: count,
  slicesHeld: count,
  slicesLed: count,
  /** How many copies of everything are wanted, as far as the node has heard. */
  copies: copiesSettingSchema,
  /** Blocks of chains led by the node that have fewer live replicas than wanted, and those that have more. */
  underReplicated: count,
  overReplicated: count,
  /** Blocks that the node, as a leader, repairs now or next. */
  repairing: count,
  /** Changes of views: those under way, and how long slices stood still at those that are over. */
  views: z.object({
    changing: count,
    /** Slices led by the node that have not as many voters as wanted. */
    toResize: count,
    pauses: z.object({
      count,
      medianMs: z.number(),
      p99Ms: z.number(),
      longestMs: z.number(),
    }),
  }),
  /** The node's member table. */
  members: z.array(memberStatusSchema),
});
export type NodeStatus = z.infer<typeof nodeStatusSchema>;

export const nodeCalls = {
  /** What `ringstow status` prints of one node. */
  "node.status": { request: z.object({}), reply: nodeStatusSchema },
  /** From now on so many copies of everything are wanted. Answered once it is decided; the rest follows by itself. */
  "node.copies": {
    request: z.object({
      copies: copiesSchema,
      requestId: z.custom<RequestId>((value) => typeof value === "string" && value.length === 32),
    }),
    reply: z.object({ setting: copiesSettingSchema }),
  },
  /** Leave for good: hand over what is held, answer until that is done. */
  "node.leave": { request: z.object({}), reply: z.object({}) },
  /** What a new node has to know of its cluster. */
  "node.genesis": { request: z.object({}), reply: z.object({ genesis: genesisSchema }) },
} as const;
