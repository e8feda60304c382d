// What operations do to the pointers of one block: pure functions, for chains and for parts. The very same block comes
// back when nothing changes. A node is a replica or a former one, never both, so that deleting a replaced copy can
// never hit one that is named.
import { type NodeId } from "../../shared/ids.ts";
import { type BlockRef } from "../../shared/records.ts";
import { type ChainOperation, samePointers } from "./types.ts";

/** Operations that change pointers and nothing else. */
export type PointerOperation = Extract<
  ChainOperation,
  { type: "addPointer" | "repair" | "released" }
>;

export function changePointers(block: BlockRef, operation: PointerOperation): BlockRef {
  if (block.id !== operation.block) return block;
  switch (operation.type) {
    case "addPointer":
      return add(block, operation.node);
    case "repair":
      return repair(block, operation);
    case "released":
      return released(block, operation.node);
  }
}

/** Version of a block's newest bytes. */
function newestOf(block: BlockRef): number {
  return block.replicas.reduce((newest, { version }) => Math.max(newest, version), 0) || 1;
}

/** One more replica of the newest bytes, or a pointer raised to them. */
function add(block: BlockRef, node: NodeId): BlockRef {
  if (block.former?.includes(node)) return block;
  const version = newestOf(block);
  const present = block.replicas.find((pointer) => pointer.node === node);
  if (!present) return { ...block, replicas: [...block.replicas, { node, version }] };
  if (present.version >= version) return block;
  const replicas = block.replicas.map((one) => (one === present ? { node, version } : one));
  return { ...block, replicas };
}

function repair(
  block: BlockRef,
  { seen, node, instead }: Extract<PointerOperation, { type: "repair" }>,
): BlockRef {
  if (!samePointers(block.replicas, seen)) return block;
  if (node !== undefined && block.former?.includes(node)) return block;
  const version = newestOf(block);
  const kept = block.replicas.filter((one) => one.node !== node && one.node !== instead);
  const replicas = node === undefined ? kept : [...kept, { node, version }];
  if (!replicas.some((one) => one.version === version)) return block;
  const left = block.replicas.some((one) => one.node === instead);
  const changed = { ...block, replicas };
  if (!left || instead === undefined)
    return samePointers(replicas, block.replicas) ? block : changed;
  return { ...changed, former: [...(block.former ?? []), instead] };
}

function released(block: BlockRef, node: NodeId): BlockRef {
  if (!block.former?.includes(node)) return block;
  const { former, ...rest } = block;
  const left = former.filter((one) => one !== node);
  return left.length > 0 ? { ...rest, former: left } : rest;
}
