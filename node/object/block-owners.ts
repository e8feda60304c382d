// What becomes of this node's copy of a block whose lease ended: its register decides. A copy that became durable too
// late to be named by the commit, and whose pointer was lost on the way, is named now: were it kept without a pointer,
// nobody would ever delete it with the others.
import { type BlockId, type NodeId, type RequestId } from "../../shared/ids.ts";
import { type Index, type RegisterAddress, blocksIn } from "../index/types.ts";

export interface BlockOwnersDeps {
  readonly self: NodeId;
  readonly index: Pick<Index, "execute" | "read">;
  readonly newRequestId: () => RequestId;
}

/**
 * "referenced": the register names the block and this node's copy of it. "disowned": it never will, the copy may go.
 * Throws what the index throws; ask again later then.
 */
export function createBlockOwners({ self, index, newRequestId }: BlockOwnersDeps) {
  const isNamed = async (owner: RegisterAddress, block: BlockId): Promise<boolean> => {
    const requestId = newRequestId();
    const result = await index.execute(owner, { type: "disown", block }, { requestId });
    return result.type === "referenced";
  };
  return {
    async isFormer(owner: RegisterAddress, block: BlockId): Promise<boolean> {
      const { value } = await index.read(owner, { body: false });
      const named = value && blocksIn(value).find(({ id }) => id === block);
      return named?.former?.includes(self) === true;
    },
    async disown(owner: RegisterAddress, block: BlockId): Promise<"referenced" | "disowned"> {
      if (!(await isNamed(owner, block))) return "disowned";
      const operation = { type: "addPointer", block, node: self } as const;
      const result = await index.execute(owner, operation, { requestId: newRequestId() });
      if (result.type === "pointer" && result.changed) return "referenced";
      // The pointer was there, or the block was deleted everywhere else in between.
      return (await isNamed(owner, block)) ? "referenced" : "disowned";
    },
  };
}
