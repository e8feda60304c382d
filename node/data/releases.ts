// Deletes replaced copies. A replaced copy has the id of a block that lives on elsewhere, and the same node may be chosen
// for it again: so a node never deletes one because it is told to, but because the register, read after the node took
// care that no new copy can begin, says that this copy is a former one. A message that comes late finds it is not.
import { type BlockId, type NodeId } from "../../shared/ids.ts";
import { releaseTimeoutMs } from "../../shared/limits.ts";
import { type RegisterAddress } from "../index/types.ts";
import { type Peers } from "../peers.ts";
import { type Route } from "../route/types.ts";
import { type BlockPulls } from "./block-pulls.ts";
import { callNode } from "./call-node.ts";
import { type OwnCopies } from "./own-copies.ts";
import { type BlockOwners } from "./staged-sweep.ts";

export interface ReleasesDeps {
  readonly self: NodeId;
  readonly peers: Peers;
  readonly route: Route;
  readonly copies: OwnCopies;
  readonly owners: BlockOwners;
}

export class Releases {
  readonly #deps: ReleasesDeps;
  readonly #pulls: BlockPulls;

  constructor(deps: ReleasesDeps, pulls: BlockPulls) {
    this.#deps = deps;
    this.#pulls = pulls;
  }

  /** See Data.release(). */
  async release(node: NodeId, block: BlockId, owner: RegisterAddress): Promise<boolean> {
    if (node === this.#deps.self) return this.releaseHere(block, owner);
    const request = { block, owner };
    return (await callNode(this.#deps, node, "data.release", request, releaseTimeoutMs)).gone;
  }

  /** Answers a peer, too. */
  async releaseHere(block: BlockId, owner: RegisterAddress): Promise<boolean> {
    const { copies, owners } = this.#deps;
    const gone = await this.#pulls.without(block, async () => {
      if (copies.isLive(block) || !(await owners.isFormer(owner, block))) return false;
      await copies.remove([block]);
      return true;
    });
    return gone === true;
  }
}
