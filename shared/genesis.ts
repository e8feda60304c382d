// The genesis file: what is fixed when a cluster is made. Every node holds the same bytes.
import * as z from "zod/mini";
import { nodeIdSchema } from "./records.ts";
import { type FolderId } from "./ids.ts";

export const folderIdSchema = z.pipe(
  z.string().check(z.regex(/^[0-9a-f]{16}$/u)),
  z.transform((text) => text as FolderId),
);

export const genesisNodeSchema = z.object({
  id: nodeIdSchema,
  /** The data folder that may vote as this node: a wiped one may not. */
  folder: folderIdSchema,
  url: z.string(),
  /** host:port of the peer link. */
  peerAddress: z.string(),
  zone: z.string(),
});
export type GenesisNode = z.infer<typeof genesisNodeSchema>;

export const genesisSchema = z.object({
  format: z.literal(1),
  /** 32 hex digits, random. */
  clusterId: z.string().check(z.regex(/^[0-9a-f]{32}$/u)),
  /** The id space has 2^sliceBits slices. */
  sliceBits: z.int().check(z.minimum(4), z.maximum(16)),
  /** Voters a slice: 1, 3 or 5, at most the number of nodes (made odd). */
  copies: z.int().check(z.minimum(1), z.maximum(5)),
  /** Wall milliseconds. */
  createdMs: z.int(),
  /** Members of epoch 1, by rising id. They alone vote until views change. */
  nodes: z.array(genesisNodeSchema).check(z.minLength(1)),
});
export type Genesis = z.infer<typeof genesisSchema>;

/** Length r of successor lists (Zave 2016: a ring needs r + 1 members). */
export function successorListLength(genesisNodes: number): number {
  return Math.min(16, Math.max(2, Math.floor(genesisNodes / 3) - 1));
}
