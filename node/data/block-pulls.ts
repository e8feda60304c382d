// Copies that a node pulls from the replicas of a block: how a replica that is behind, or new, gets its bytes.
// Invariant: at most one pull of a block at a time here; whoever asks meanwhile shares it. Every piece is verified by
// the replica that reads it, and the copy is durable and staged before anybody is told.
import { RingstowError } from "../../shared/errors.ts";
import { type BlockId, type NodeId, toHex } from "../../shared/ids.ts";
import { pullsMax, pullTimeoutMs } from "../../shared/limits.ts";
import { type BlockRef } from "../../shared/records.ts";
import { type RegisterAddress } from "../index/types.ts";
import { type Peers } from "../peers.ts";
import { type BlockFiles, type Chance } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { callNode } from "./call-node.ts";
import { type OwnCopies } from "./own-copies.ts";
import { type BlockReader } from "./reader.ts";

export interface BlockPullsDeps {
  readonly self: NodeId;
  readonly chance: Chance;
  readonly blocks: BlockFiles;
  readonly copies: OwnCopies;
  readonly peers: Peers;
  readonly route: Route;
  readonly reader: BlockReader;
}

export class BlockPulls {
  readonly #deps: BlockPullsDeps;
  readonly #pulling = new Map<BlockId, Promise<void>>();

  constructor(deps: BlockPullsDeps) {
    this.#deps = deps;
  }

  /** See Data.pull(). */
  async pull(node: NodeId, block: BlockRef, owner: RegisterAddress): Promise<void> {
    if (node === this.#deps.self) return this.pullHere(block, owner);
    await callNode(this.#deps, node, "data.pull", { block, owner }, pullTimeoutMs);
  }

  /** Answers a peer, too. */
  pullHere(block: BlockRef, owner: RegisterAddress): Promise<void> {
    const under = this.#pulling.get(block.id);
    if (under) return under;
    if (this.#pulling.size >= pullsMax)
      return Promise.reject(
        new RingstowError("SlowDown", "Cannot pull a block: too many are being pulled"),
      );
    const pulling = this.#pull(block, owner).finally(() => this.#pulling.delete(block.id));
    this.#pulling.set(block.id, pulling);
    return pulling;
  }

  /** Resolves when no pull is under way; those that were have been given up by their copies. */
  async ended(): Promise<void> {
    await Promise.allSettled(this.#pulling.values());
  }

  async #pull(block: BlockRef, owner: RegisterAddress): Promise<void> {
    const { self, chance, blocks, copies, reader } = this.#deps;
    const known = await blocks.stat(block.id);
    if (known) {
      if (known.size === block.size) return;
      throw new RingstowError("Corrupt", `Block "${block.id}" has ${known.size} bytes here`);
    }
    // A pointer to this node says nothing: there is no such file.
    const replicas = block.replicas.filter(({ node }) => node !== self);
    if (replicas.length === 0 && block.size > 0)
      throw new RingstowError("Unavailable", `Cannot pull block "${block.id}": no other replica`);
    const copy = await copies.start(block.id, owner, toHex(chance.bytes(16)));
    try {
      for await (const chunk of reader.read({ ...block, replicas }, 0, block.size))
        await copy.write(chunk);
    } catch (error) {
      await copy.abort();
      throw error;
    }
    await copy.seal();
  }
}
