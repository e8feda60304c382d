// The drafts of a node: found by their block, made by the first write, sealed and dropped by whoever holds the lock.
import { giveChunk } from "../../shared/chunk-memory.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type BlockId, type NodeId, toHex } from "../../shared/ids.ts";
import {
  blockBytesMax,
  discardTimeoutMs,
  draftsDroppedMax,
  draftsOpenMax,
  sealTimeoutMs,
} from "../../shared/limits.ts";
import { type Peers } from "../peers.ts";
import { type BlockFiles, type Chance, type Clock, type Digest, type Log } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { callNode } from "./call-node.ts";
import { Draft } from "./draft.ts";
import { type OwnCopies } from "./own-copies.ts";
import { type BlockReader } from "./reader.ts";
import { type StagedBlocks } from "./staged.ts";
import { type DraftPlace } from "./types.ts";
import { reasonOf } from "./within.ts";

export interface DraftsDeps {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly digest: Digest;
  readonly blocks: BlockFiles;
  readonly staged: StagedBlocks;
  readonly copies: OwnCopies;
  readonly peers: Peers;
  readonly route: Route;
  readonly reader: BlockReader;
  readonly log: Log;
}

export interface SealedDraft {
  readonly size: number;
  /** Hex. */
  readonly md5: string;
}

export class Drafts {
  readonly #deps: DraftsDeps;
  readonly #open = new Map<BlockId, Draft>();
  /** Dropped lately, the oldest first: a write that comes late must not make the draft anew. */
  readonly #dropped = new Set<BlockId>();

  constructor(deps: DraftsDeps) {
    this.#deps = deps;
  }

  /** See Data.writeDraft(). */
  async write(place: DraftPlace, at: number, body: AsyncIterable<Uint8Array>): Promise<number> {
    if (at > blockBytesMax)
      throw new RingstowError("EntityTooLarge", `Cannot write to a draft at byte ${at}`);
    const draft = await this.#find(place);
    if (draft) return draft.write(at, body);
    throw new RingstowError(
      "NoSuchKey",
      `Cannot write to the draft of block "${place.block}": it is sealed`,
    );
  }

  /** See Data.sealDraft(). */
  async seal(node: NodeId, place: DraftPlace): Promise<SealedDraft> {
    if (node === this.#deps.self) return this.sealHere(place);
    const { block, owner, base } = place;
    const request = { block, owner, ...(base === undefined ? {} : { base }) };
    return callNode(this.#deps, node, "data.seal", request, sealTimeoutMs);
  }

  async sealHere(place: DraftPlace): Promise<SealedDraft> {
    const draft = await this.#find(place);
    try {
      await draft?.seal();
    } catch (error) {
      // Another call may have sealed it while this one waited for its turn.
      if (this.#dropped.has(place.block) || !(await this.#deps.blocks.stat(place.block)))
        throw error;
    }
    return this.#describe(place.block);
  }

  /** See Data.dropDraft(). */
  async drop(node: NodeId, block: BlockId): Promise<void> {
    const { self, log } = this.#deps;
    try {
      if (node === self) await this.dropHere(block);
      else await callNode(this.#deps, node, "data.drop", { block }, discardTimeoutMs);
    } catch (error) {
      log.info("A draft stays until its time is over", { block, node, reason: reasonOf(error) });
    }
  }

  /** Removes what is staged here under this id, sealed or not. */
  async dropHere(block: BlockId): Promise<void> {
    for (const oldest of this.#dropped) {
      if (this.#dropped.size < draftsDroppedMax) break;
      this.#dropped.delete(oldest);
    }
    this.#dropped.add(block);
    await this.#deps.copies.discard(block);
  }

  /** The draft, made when nobody wrote before; undefined when it is sealed. Throws NoSuchKey when it is gone. */
  async #find(place: DraftPlace): Promise<Draft | undefined> {
    const { blocks, staged } = this.#deps;
    const { block } = place;
    const known = this.#open.get(block);
    if (known) return known;
    if (this.#dropped.has(block)) throw gone(block);
    if (await blocks.stat(block)) return undefined;
    // Read again: another call may have made it meanwhile.
    const made = this.#open.get(block);
    if (made) return made;
    // A record without a file: there was a draft, before the node restarted or its time was over.
    if (staged.find(block) || this.#dropped.has(block)) throw gone(block);
    if (this.#open.size >= draftsOpenMax)
      throw new RingstowError("SlowDown", "Cannot start a draft: too many are open on this node");
    const draft: Draft = new Draft(
      {
        ...this.#deps,
        ended: () => {
          if (this.#open.get(block) === draft) this.#open.delete(block);
        },
      },
      place,
    );
    this.#open.set(block, draft);
    this.#deps.copies.enter(block, draft);
    return draft;
  }

  async #describe(block: BlockId): Promise<SealedDraft> {
    const { blocks, digest } = this.#deps;
    const info = await blocks.stat(block);
    if (!info) throw gone(block);
    const md5 = digest.start("md5");
    for await (const chunk of blocks.read(block, 0, info.size)) {
      md5.update(chunk);
      giveChunk(chunk);
    }
    return { size: info.size, md5: toHex(md5.digest()) };
  }
}

function gone(block: BlockId): RingstowError {
  return new RingstowError(
    "NoSuchKey",
    `Cannot find the draft of block "${block}": it was given up, or lost with its node's restart`,
  );
}
