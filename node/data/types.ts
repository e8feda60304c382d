// What the other modules may know of the data module: staged, replicated, immutable blocks.
import { type DiskUsage } from "../ports.ts";
import { blockBytesMax, reserveBytesDefault } from "../../shared/limits.ts";
import { type BlockId, type NodeId } from "../../shared/ids.ts";
import { type BlockRef, type Pointer } from "../../shared/records.ts";
import { type RegisterAddress } from "../index/types.ts";
import { type Member } from "../route/types.ts";

export interface BlockUpload {
  /**
   * Back-pressure along the pipeline. Throws Unavailable when no copy can be written any more.
   * The chunk is not kept afterwards.
   */
  write(chunk: Uint8Array): Promise<void>;
  /**
   * Resolves when `quorum` copies are durable and the last one is, or its grace is over.
   * `late` resolves with copies that became durable afterwards (maybe none); never rejects.
   * Throws Unavailable when the quorum cannot be reached; then all copies are given up.
   */
  finish(): Promise<{ block: BlockRef; late: Promise<readonly Pointer[]> }>;
  /** Gives up all copies. Safe at any time before finish() resolved. */
  abort(): Promise<void>;
}

/** A draft: a block of a native writer that is not sealed yet. */
export interface DraftPlace {
  readonly block: BlockId;
  readonly owner: RegisterAddress;
  /** What it starts from. */
  readonly base: BlockRef | Uint8Array | undefined;
}

export interface Data {
  /**
   * Starts one block of at most `blockBytesMax` on `copies` nodes, this one first if it has room, the bytes
   * forwarded from node to node. `owner` is the register that will name the block: staged copies that outlive
   * their lease ask it. Nodes in `avoid` failed a moment ago.
   */
  upload(owner: RegisterAddress, options: { avoid?: ReadonlySet<NodeId> }): Promise<BlockUpload>;
  /**
   * Bytes from..to (exclusive) of a block from the best replica; when a replica breaks, is slow to send its head,
   * or finds a bad piece, goes on from another at the same byte. Throws Unavailable when none is left. Copies that are
   * bad or gone are told to the leader of `owner`, the register that names the block. A chunk is the caller's from then
   * on.
   */
  read(
    block: BlockRef,
    from: number,
    to: number,
    owner?: RegisterAddress,
  ): AsyncIterable<Uint8Array>;
  /**
   * Gives up staged copies of a block at once. Only for a block that no commit was ever tried with: a commit whose
   * outcome is unknown may have named it, and then only the register can say (disown, when the lease ends).
   * Best effort: leases cover the rest.
   */
  discard(block: BlockRef): Promise<void>;
  /**
   * A block with an id of its own and the bytes of `source`, made by hard links on the nodes that hold it (a node that
   * cannot link is left out), staged for `owner`. Throws Unavailable when fewer than the write quorum could.
   */
  link(
    source: BlockRef,
    owner: RegisterAddress,
  ): Promise<{ block: BlockRef; late: Promise<readonly Pointer[]> }>;
  /**
   * Makes `node` pull a copy from the replicas of a block, staged for `owner`. Durable when it resolves; a copy that is
   * there already and whole is success; a damaged one is made anew. Throws Unavailable or DiskFull.
   */
  pull(node: NodeId, block: BlockRef, owner: RegisterAddress): Promise<void>;
  /** A live node for one more copy of a block that `having` have, none of `exclude`; undefined when there is none. */
  place(having: readonly NodeId[], exclude: ReadonlySet<NodeId>): NodeId | undefined;
  /**
   * Has `node` delete its replaced copy of a block, after it asked `owner` whether the copy is one. Answers whether it is
   * gone. Throws Unavailable.
   */
  release(node: NodeId, block: BlockId, owner: RegisterAddress): Promise<boolean>;
  /**
   * Writes into a draft on this node; the first write makes it, from `base` (a block, bytes, or nothing). Answers the
   * draft's size. Throws EntityTooLarge beyond `blockBytesMax`, NoSuchKey when it was sealed or dropped before.
   */
  writeDraft(draft: DraftPlace, at: number, body: AsyncIterable<Uint8Array>): Promise<number>;
  /**
   * Seals a draft, wherever it is: durable, staged, immutable from then on. Sealing twice answers the same. A draft that
   * nobody wrote to is its base. Throws NoSuchKey when the draft is gone (its node restarted).
   */
  sealDraft(node: NodeId, draft: DraftPlace): Promise<{ size: number; md5: string }>;
  /** Gives up a draft or its sealed block. Best effort. */
  dropDraft(node: NodeId, block: BlockId): Promise<void>;
  /** Deletes copies everywhere; answers which are gone for sure. */
  delete(blocks: readonly BlockRef[]): Promise<readonly { block: BlockId; node: NodeId }[]>;
  usage(): Promise<DiskUsage>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Whether a node has said that it can take a block. A node that has said nothing yet is given the benefit. */
export function hasRoom(member: Member): boolean {
  return member.capacityBytes === 0 || member.freeBytes >= reserveBytesDefault + blockBytesMax;
}
