// Calls about a node as a whole.
import * as z from "zod/mini";

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
  underReplicated: count,
  /** The node's member table. */
  members: z.array(memberStatusSchema),
});
export type NodeStatus = z.infer<typeof nodeStatusSchema>;

export const nodeCalls = {
  /** What `ringstow status` prints of one node. */
  "node.status": { request: z.object({}), reply: nodeStatusSchema },
} as const;
