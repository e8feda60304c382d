// Deletes blocks for good, here and on peers. Idempotent: a copy that is not there is gone.
import { type BlockId, type NodeId } from "../../shared/ids.ts";
import { deleteBatchMax, deleteTimeoutMs } from "../../shared/limits.ts";
import { type BlockRef } from "../../shared/records.ts";
import { type Peers } from "../peers.ts";
import { type Log } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { type OwnCopies } from "./own-copies.ts";
import { reasonOf } from "./within.ts";

export interface GoneCopy {
  readonly block: BlockId;
  readonly node: NodeId;
}

export interface BlockDeletesDeps {
  readonly self: NodeId;
  readonly copies: OwnCopies;
  readonly peers: Peers;
  readonly route: Route;
  readonly log: Log;
}

export class BlockDeletes {
  readonly #deps: BlockDeletesDeps;

  constructor(deps: BlockDeletesDeps) {
    this.#deps = deps;
  }

  /** Answers the copies that are gone for sure; the others may be asked for again. */
  async delete(blocks: readonly BlockRef[]): Promise<GoneCopy[]> {
    const byNode = new Map<NodeId, BlockId[]>();
    for (const block of blocks)
      for (const { node } of block.replicas)
        byNode.set(node, [...(byNode.get(node) ?? []), block.id]);
    const gone = await Promise.all([...byNode].map(([node, ids]) => this.#deleteAt(node, ids)));
    return gone.flat();
  }

  /** Answers a peer. Stops at the first block that the disk refuses to delete. */
  async deleteHere(blocks: readonly BlockId[]): Promise<BlockId[]> {
    const gone: BlockId[] = [];
    for (const block of blocks) {
      try {
        await this.#deps.copies.remove([block]);
      } catch (error) {
        this.#deps.log.error("A block could not be deleted", { block, reason: reasonOf(error) });
        break;
      }
      gone.push(block);
    }
    return gone;
  }

  async #deleteAt(node: NodeId, blocks: readonly BlockId[]): Promise<GoneCopy[]> {
    const { self, peers, route, log } = this.#deps;
    const gone: GoneCopy[] = [];
    // Whoever asks will ask again: no chain's garbage should wait for the time-outs of another's.
    if (route.find(node)?.state === "dead") return gone;
    for (let i = 0; i < blocks.length; i += deleteBatchMax) {
      const batch = blocks.slice(i, i + deleteBatchMax);
      try {
        const peer = node === self ? undefined : route.peer(node);
        if (!peer && node !== self) break;
        const reply = peer
          ? await peers.call(peer, "data.delete", { blocks: batch }, deleteTimeoutMs)
          : { gone: await this.deleteHere(batch) };
        for (const block of reply.gone) gone.push({ block, node });
      } catch (error) {
        log.info("Copies stay until they are deleted again", { node, reason: reasonOf(error) });
        break; // the others of this node would wait for nothing too
      }
    }
    return gone;
  }
}
