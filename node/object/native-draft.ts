// The draft of a native write: which block it is and what it starts from. Any coordinator computes the same.
import { RingstowError } from "../../shared/errors.ts";
import { type AccessGrant } from "../../shared/access-token.ts";
import { type BlockId, type NodeId, parseBlockId, toHex } from "../../shared/ids.ts";
import { blockBytesMax } from "../../shared/limits.ts";
import { type ByteStream } from "../../shared/object-service.ts";
import { type BlockRef } from "../../shared/records.ts";
import { type Data } from "../data/types.ts";
import { type Chain, EMPTY_CHAIN, type Index, type RegisterAddress } from "../index/types.ts";
import { objectAddress } from "./addresses.ts";
import { type Context } from "./context.ts";

/** First half of SHA-256 over register (bucket and key), fence and node. */
export function draftId(
  context: Pick<Context, "digest">,
  at: RegisterAddress,
  fence: number,
  node: NodeId,
): BlockId {
  const hash = context.digest.start("sha256");
  hash.update(new TextEncoder().encode(`${at.key}\0${fence}\0${node}`));
  return parseBlockId(toHex(hash.digest().subarray(0, 16)));
}

export interface Present {
  readonly chain: Chain;
  /** What a draft starts from. */
  readonly base: BlockRef | Uint8Array | undefined;
  readonly baseSize: number;
}

/** Linearizable. Throws EntityTooLarge for an object of more than one block. */
export async function readPresent(
  context: { readonly index: Pick<Index, "read"> },
  at: RegisterAddress,
): Promise<Present> {
  const { value, body: inline } = await context.index.read(at, { body: true });
  const chain = value?.kind === "object" ? value.chain : EMPTY_CHAIN;
  const entry = chain.entries[0];
  if (!entry) return { chain, base: undefined, baseSize: 0 };
  const { body, size } = entry;
  if (
    body.kind === "parts" ||
    size > blockBytesMax ||
    (body.kind === "blocks" && body.blocks.length > 1)
  )
    throw new RingstowError("EntityTooLarge", "Cannot write a part of an object of several blocks");
  return { chain, base: body.kind === "inline" ? inline : body.blocks[0], baseSize: size };
}

/** Throws FenceTooOld, which names the present fence. */
export function requireHeld(chain: Chain, fence: number): void {
  if (chain.lock?.fence !== fence)
    throw new RingstowError("FenceTooOld", undefined, { fence: String(chain.fence) });
}

/**
 * Writes a body at an offset of a draft on this node, for whoever holds the lock under `fence`. Answers the draft's
 * size. Throws FenceTooOld when the lock is another's before the first byte or after the last one: whatever a late
 * holder wrote is in a draft that nothing can publish any more.
 */
export async function writeHeldDraft(
  context: {
    readonly index: Pick<Index, "read">;
    readonly data: Pick<Data, "writeDraft">;
    readonly sliceBits: number;
  },
  grant: Extract<AccessGrant, { type: "write" }>,
  offset: number,
  body: ByteStream,
): Promise<number> {
  const at = objectAddress(grant.bucket, grant.key, context.sliceBits);
  const { chain, base } = await readPresent(context, at);
  requireHeld(chain, grant.fence);
  const size = await context.data.writeDraft({ block: grant.block, owner: at, base }, offset, body);
  const { value } = await context.index.read(at, { body: false });
  requireHeld(value?.kind === "object" ? value.chain : EMPTY_CHAIN, grant.fence);
  return size;
}
