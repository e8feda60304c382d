// Records of blocks that no register is known to name yet: row `d/<blockId>`, durable before the block file is.
// Invariant: every sealed block file has a row, or a register named it when the row was removed. So a crash at any
// moment leaves either a row without a file (dropped when its lease ends) or a file with a row that knows its owner
// (who is asked when its lease ends). A row without lease says nothing about how many copies there are.
import * as z from "zod/mini";
import { RingstowError } from "../../shared/errors.ts";
import { type BlockId, parseBlockId } from "../../shared/ids.ts";
import { stagedLeaseMs } from "../../shared/limits.ts";
import { attemptSchema, blockOwnerSchema } from "../../shared/protocol/data.ts";
import { type RegisterAddress } from "../index/types.ts";
import { type Clock, type Store } from "../ports.ts";

const PREFIX = "d/";
const PREFIX_END = "d0"; // "0" follows "/"

const stagedSchema = z.object({
  state: z.literal("staged"),
  owner: blockOwnerSchema,
  attempt: attemptSchema,
  /** Wall ms: a lease must outlive a restart. A clock that jumps only asks the owner early, which is safe. */
  leaseUntilWallMs: z.number(),
});

export interface StagedBlock {
  readonly owner: RegisterAddress;
  /** The pipeline run that wrote this copy last. */
  readonly attempt: string;
  readonly leaseUntilWallMs: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class StagedBlocks {
  readonly #store: Store;
  readonly #clock: Clock;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Resolves when the row is durable; only then may the block be sealed. */
  record(block: BlockId, owner: RegisterAddress, attempt: string): Promise<void> {
    const leaseUntilWallMs = this.#clock.wallMs() + stagedLeaseMs;
    const row = { state: "staged", owner, attempt, leaseUntilWallMs };
    return this.#store.write([{ key: PREFIX + block, value: encoder.encode(JSON.stringify(row)) }]);
  }

  find(block: BlockId): StagedBlock | undefined {
    const value = this.#store.get(PREFIX + block);
    return value && decode(block, value);
  }

  /** Removes rows: the file is gone, or a register names the block. */
  forget(blocks: readonly BlockId[]): Promise<void> {
    return this.#store.write(blocks.map((block) => ({ key: PREFIX + block, value: undefined })));
  }

  /** The next rows after `after` in key order, at most `limit`. */
  async page(
    after: BlockId | undefined,
    limit: number,
  ): Promise<{ block: BlockId; staged: StagedBlock }[]> {
    const from = after === undefined ? PREFIX : `${PREFIX + after}\u0001`;
    const rows = await this.#store.range({ from, to: PREFIX_END, limit });
    return rows.map((row) => {
      const block = parseBlockId(row.key.slice(PREFIX.length));
      return { block, staged: decode(block, row.value) };
    });
  }
}

function decode(block: BlockId, value: Uint8Array): StagedBlock {
  const parsed = stagedSchema.safeParse(JSON.parse(decoder.decode(value)));
  if (!parsed.success)
    throw new RingstowError("Corrupt", `Cannot read the record of block "${block}"`);
  return { ...parsed.data, owner: parsed.data.owner as RegisterAddress };
}
