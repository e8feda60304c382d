// The draft of a native write: which block it is and what it starts from. Any coordinator computes the same.
import { RingstowError } from "../../../shared/errors.ts";
import { type BlockId, type NodeId, parseBlockId, toHex } from "../../../shared/ids.ts";
import { blockBytesMax } from "../../../shared/limits.ts";
import { type BlockRef } from "../../../shared/records.ts";
import { type RegisterAddress } from "../../index/types.ts";
import { EMPTY_CHAIN } from "../../index/chain.ts";
import { type Chain } from "../../index/types.ts";
import { type Context } from "../context.ts";

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
export async function readPresent(context: Context, at: RegisterAddress): Promise<Present> {
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
