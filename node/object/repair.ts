// One step of a block's repair, as its leader's index decided it: a copy is made first, then one register operation names
// it. Dying in between leaves a staged copy that its lease accounts for; doing a step twice changes nothing the second
// time, because the operation only holds for the pointers that were seen.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import { type BlockRef } from "../../shared/records.ts";
import { type RepairStep, blocksIn, samePointers } from "../index/types.ts";
import { type Context, freshRequestId } from "./context.ts";

/**
 * Answers whether the step was done, or had been. False: the register names other pointers by now, or there is no node
 * for a copy. Throws RingstowError when a copy cannot be made, or its register be changed, just now.
 */
export async function repairBlock(context: Context, step: RepairStep): Promise<boolean> {
  const { at, block: seen } = step;
  const { value } = await context.index.read(at, { body: false });
  const block = value && blocksIn(value).find(({ id }) => id === seen.id);
  if (!block || !samePointers(block.replicas, seen.replicas)) return false;
  switch (step.kind) {
    case "copy":
      return copy(context, step, block);
    case "drop":
      // Nobody may have read those copies for long. One that is damaged is mended while there is one too many.
      await Promise.all(step.keep.map((node) => context.data.pull(node, block, at)));
      return changePointers(context, step, block, { instead: step.instead });
    case "release": {
      const { node } = step;
      if (!(await context.data.release(node, block.id, at))) return false;
      const released = { type: "released", block: block.id, node } as const;
      await context.index.execute(at, released, { requestId: freshRequestId(context) });
      return true;
    }
  }
}

async function copy(
  context: Context,
  { at, onto, instead }: Extract<RepairStep, { kind: "copy" }>,
  block: BlockRef,
): Promise<boolean> {
  const { data, log } = context;
  if (onto !== undefined) {
    try {
      await data.pull(onto, block, at);
      return await changePointers(context, { at }, block, { node: onto });
    } catch (error) {
      if (!(error instanceof RingstowError)) throw error;
      log.info("A copy goes to another node", { block: block.id, reason: error.message });
    }
  }
  const replaced = instead ?? onto;
  const holders = block.replicas.map(({ node }) => node);
  const stay = holders.filter((node) => node !== replaced);
  const target = data.place(stay, new Set([...holders, ...(block.former ?? [])]));
  if (target === undefined) return false;
  await data.pull(target, block, at);
  return changePointers(context, { at }, block, { node: target, instead: replaced });
}

async function changePointers(
  context: Context,
  { at }: Pick<RepairStep, "at">,
  block: BlockRef,
  change: { readonly node?: NodeId; readonly instead?: NodeId | undefined },
): Promise<boolean> {
  const result = await context.index.execute(
    at,
    { type: "repair", block: block.id, seen: block.replicas, ...change },
    { requestId: freshRequestId(context) },
  );
  return result.type === "pointer" && (result.changed || isNamed(block, change));
}

/** Whether the pointers said so before: a copy that was made whole where it was. */
function isNamed(
  { replicas }: BlockRef,
  { node, instead }: { node?: NodeId; instead?: NodeId | undefined },
) {
  const newest = Math.max(...replicas.map(({ version }) => version));
  return (
    instead === undefined && replicas.some((one) => one.node === node && one.version === newest)
  );
}
