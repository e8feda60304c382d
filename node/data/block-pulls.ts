// Copies that a node pulls from the replicas of a block: how a replica that is behind, or new, gets its bytes.
// Invariant: at most one pull of a block at a time here; whoever asks meanwhile shares it. Every piece is verified by
// the replica that reads it, and the copy is durable and staged before anybody is told.
import { giveChunk } from "../../shared/chunk-memory.ts";
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
import { type RecentFailures } from "./recent-failures.ts";

export interface BlockPullsDeps {
  readonly self: NodeId;
  readonly chance: Chance;
  readonly blocks: BlockFiles;
  readonly copies: OwnCopies;
  readonly peers: Peers;
  readonly route: Route;
  readonly reader: BlockReader;
  readonly failures: RecentFailures;
}

export class BlockPulls {
  readonly #deps: BlockPullsDeps;
  readonly #pulling = new Map<BlockId, Promise<void>>();
  /** Blocks that must not be pulled just now. */
  readonly #barred = new Set<BlockId>();

  constructor(deps: BlockPullsDeps) {
    this.#deps = deps;
  }

  /** See Data.pull(). */
  async pull(node: NodeId, block: BlockRef, owner: RegisterAddress): Promise<void> {
    try {
      if (node === this.#deps.self) return await this.pullHere(block, owner);
      await callNode(this.#deps, node, "data.pull", { block, owner }, pullTimeoutMs);
    } catch (error) {
      this.#deps.failures.note(node);
      throw error;
    }
  }

  /** Runs work while no pull of a block is under way here and none begins; undefined when one is. */
  async without<T>(block: BlockId, work: () => Promise<T>): Promise<T | undefined> {
    if (this.#pulling.has(block) || this.#barred.has(block)) return undefined;
    this.#barred.add(block);
    try {
      return await work();
    } finally {
      this.#barred.delete(block);
    }
  }

  /** Answers a peer, too. */
  pullHere(block: BlockRef, owner: RegisterAddress): Promise<void> {
    const under = this.#pulling.get(block.id);
    if (under) return under;
    if (this.#barred.has(block.id))
      return Promise.reject(
        new RingstowError("SlowDown", `Cannot pull block "${block.id}": a copy is being deleted`),
      );
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
    const state = await this.#stateOf(block);
    if (state === "whole") return;
    // A pointer to this node says nothing: there is no such file, or it is not what it should be.
    const replicas = block.replicas.filter(({ node }) => node !== self);
    if (replicas.length === 0 && block.size > 0)
      throw new RingstowError("Unavailable", `Cannot pull block "${block.id}": no other replica`);
    const copy = await copies.start(block.id, owner, toHex(chance.bytes(16)));
    try {
      for await (const chunk of reader.read({ ...block, replicas }, 0, block.size, owner)) {
        await copy.write(chunk);
        giveChunk(chunk);
      }
      // Not before the good bytes are here: the pieces that are not damaged serve readers until then.
      if (state === "damaged") await blocks.delete(block.id);
    } catch (error) {
      await copy.abort();
      throw error;
    }
    await copy.seal();
  }

  /** What is here of a block; every piece of it is read. */
  async #stateOf(block: BlockRef): Promise<"whole" | "damaged" | "missing"> {
    const { blocks } = this.#deps;
    try {
      const known = await blocks.stat(block.id);
      if (!known) return "missing";
      if (known.size !== block.size) return "damaged";
      let bytes = 0;
      for await (const chunk of blocks.read(block.id, 0, block.size)) bytes += chunk.length;
      return bytes === block.size ? "whole" : "damaged";
    } catch (error) {
      if (error instanceof RingstowError && error.code === "Corrupt") return "damaged";
      throw error;
    }
  }
}
