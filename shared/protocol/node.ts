// Calls about a node as a whole.
import * as z from "zod/mini";

const count = z.int().check(z.nonnegative());

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
});
export type NodeStatus = z.infer<typeof nodeStatusSchema>;

export const nodeCalls = {
  /** What `ringstow status` prints of one node. */
  "node.status": { request: z.object({}), reply: nodeStatusSchema },
} as const;
