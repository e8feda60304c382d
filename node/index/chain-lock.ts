// The native lock of a chain: FIFO queue, fences that grow with every grant, and what a holder may change.
// Pure functions like chain.ts.
import { RingstowError } from "../../shared/errors.ts";
import { type BlockId, type RequestId } from "../../shared/ids.ts";
import { lockQueueMax } from "../../shared/limits.ts";
import { type BlockRef } from "../../shared/records.ts";
import { type ChainStep, type OperationContext, step } from "./chain-step.ts";
import { type Chain, type ChainOperation } from "./types.ts";

export function requireFence(chain: Chain, fence: number): void {
  if (chain.lock?.fence !== fence) {
    throw new RingstowError("FenceTooOld", undefined, { fence: String(chain.fence) });
  }
}

export function acquire(
  chain: Chain,
  operation: Extract<ChainOperation, { type: "acquire" }>,
  context: OperationContext,
): ChainStep {
  const { requestId } = context;
  if (chain.lock?.requestId === requestId) {
    return step(chain, { type: "granted", fence: chain.lock.fence, leaseMs: chain.lock.leaseMs });
  }
  const place = chain.queue.findIndex((waiting) => waiting.requestId === requestId);
  if (place >= 0) return step(chain, { type: "queued", place });
  const request = { holder: operation.holder, requestId, leaseMs: operation.leaseMs };
  if (!chain.lock) {
    const fence = chain.fence + 1;
    return step(
      { ...chain, fence, lock: { ...request, fence } },
      { type: "granted", fence, leaseMs: request.leaseMs },
    );
  }
  if (chain.queue.length >= lockQueueMax) {
    throw new RingstowError("SlowDown", "Too many writers wait for this object's lock");
  }
  return step(
    { ...chain, queue: [...chain.queue, request] },
    { type: "queued", place: chain.queue.length },
  );
}

/** Unlocks, and grants the lock to the head of the queue in the same step. */
export function grantNext(chain: Chain): Chain {
  const [head, ...queue] = chain.queue;
  if (!head) return { ...chain, lock: undefined };
  const fence = chain.fence + 1;
  return { ...chain, fence, lock: { ...head, fence }, queue };
}

export function update(
  chain: Chain,
  operation: Extract<ChainOperation, { type: "update" }>,
): ChainStep {
  requireFence(chain, operation.fence);
  const entries = chain.entries.map((entry) =>
    entry.body.kind === "blocks"
      ? {
          ...entry,
          body: {
            ...entry.body,
            blocks: entry.body.blocks.map((block) => raise(block, operation)),
          },
        }
      : entry,
  );
  return step({ ...chain, entries }, { type: "done" });
}

function raise(
  block: BlockRef,
  to: { readonly block: BlockId; readonly node: string; readonly version: number },
): BlockRef {
  if (block.id !== to.block) return block;
  const replicas = block.replicas.map((pointer) =>
    pointer.node === to.node
      ? { ...pointer, version: Math.max(pointer.version, to.version) }
      : pointer,
  );
  return { ...block, replicas };
}

export function cancel(chain: Chain, requestId: RequestId): ChainStep {
  if (chain.lock?.requestId === requestId) return step(grantNext(chain), { type: "done" });
  const queue = chain.queue.filter((waiting) => waiting.requestId !== requestId);
  return queue.length === chain.queue.length
    ? step(chain, { type: "done" })
    : step({ ...chain, queue }, { type: "done" });
}
