// Cuts a long body into blocks and stages them: while one block is being made durable, the next one is written. At
// most `blocksInFlightMax` blocks are open, so memory does not grow with the body. Until a commit names them the
// blocks are nobody's; giveUp() frees them, and their leases do when this process dies before.
import { RingstowError } from "../../shared/errors.ts";
import { blockBytesMax, blocksInFlightMax, streamChunkBytes } from "../../shared/limits.ts";
import { type BlockRef, type Pointer } from "../../shared/records.ts";
import { type BlockUpload, type Data } from "../data/types.ts";
import { type RegisterAddress } from "../index/types.ts";

export interface StagedBlock {
  readonly block: BlockRef;
  /** Copies that became durable after the others. Never rejects. */
  readonly late: Promise<readonly Pointer[]>;
}

interface Finishing {
  readonly upload: BlockUpload;
  readonly staged: Promise<StagedBlock>;
}

export class BlockStager {
  readonly #data: Data;
  readonly #owner: RegisterAddress;
  readonly #finished: StagedBlock[] = [];
  /** In order of their bytes. */
  readonly #finishing: Finishing[] = [];
  #open: BlockUpload | undefined;
  #openBytes = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(data: Data, owner: RegisterAddress) {
    this.#data = data;
    this.#owner = owner;
  }

  /** Takes the next bytes. Throws when a block cannot be staged; then only giveUp() may follow. */
  async write(chunk: Uint8Array): Promise<void> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#failure) throw this.#failure.error;
      const upload = this.#open ?? (await this.#openNext());
      const room = blockBytesMax - this.#openBytes;
      const piece = chunk.subarray(at, at + Math.min(room, streamChunkBytes));
      await upload.write(piece);
      at += piece.length;
      this.#openBytes += piece.length;
      if (this.#openBytes === blockBytesMax) this.#seal(upload);
    }
  }

  /** Resolves when all blocks are durable, in order. */
  async finish(): Promise<readonly StagedBlock[]> {
    if (this.#open) this.#seal(this.#open);
    while (this.#finishing.length > 0) await this.#finishOldest();
    return this.#finished;
  }

  /** Frees everything staged. Call it after a failure, never while write() or finish() runs. */
  async giveUp(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    const ends = await Promise.allSettled([
      open?.abort(),
      ...this.#finishing.splice(0).map(async ({ upload, staged }) => {
        await upload.abort();
        // finish() may have won against abort().
        const done = await staged.catch(() => undefined);
        if (done) await this.#data.discard(done.block);
      }),
      ...this.#finished.splice(0).map(({ block }) => this.#data.discard(block)),
    ]);
    const failed = ends.find((end) => end.status === "rejected");
    if (failed) throw failed.reason;
  }

  async #openNext(): Promise<BlockUpload> {
    while (this.#finishing.length > blocksInFlightMax - 1) await this.#finishOldest();
    const upload = await this.#data.upload(this.#owner, {});
    this.#open = upload;
    this.#openBytes = 0;
    return upload;
  }

  #seal(upload: BlockUpload): void {
    this.#open = undefined;
    const size = this.#openBytes;
    const staged = upload.finish().then((done) => {
      if (done.block.size === size) return done;
      throw new RingstowError("Internal", "Cannot stage a block: its size is wrong");
    });
    staged.catch((error: unknown) => {
      // Told at the next write, not only when all the rest of the body has been sent.
      this.#failure ??= { error };
    });
    this.#finishing.push({ upload, staged });
  }

  async #finishOldest(): Promise<void> {
    const oldest = this.#finishing[0]!;
    const staged = await oldest.staged;
    this.#finishing.shift();
    this.#finished.push(staged);
  }
}
