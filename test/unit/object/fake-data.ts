// Blocks in memory, two copies at once and a third one late. Tests may fail writes, finishes and reads.
import { RingstowError } from "../../../shared/errors.ts";
import { type BlockId, type NodeId, parseBlockId, parseNodeId } from "../../../shared/ids.ts";
import { type BlockRef, type Pointer } from "../../../shared/records.ts";
import { type BlockUpload, type Data } from "../../../node/data/types.ts";
import { type RegisterAddress } from "../../../node/index/types.ts";

export const NODES: readonly NodeId[] = ["a", "b", "c"].map((digit) =>
  parseNodeId(digit.repeat(32)),
);

export class FakeData implements Data {
  /** Sealed blocks and staged ones alike, by id. */
  readonly blocks = new Map<BlockId, Uint8Array[]>();
  readonly owners: RegisterAddress[] = [];
  readonly discarded: BlockId[] = [];
  readonly deleted: BlockId[] = [];
  readonly opened: { block: BlockId; from: number; to: number }[] = [];
  aborted = 0;
  uploads = 0;
  inFlight = 0;
  inFlightMost = 0;
  closedReads = 0;
  /** Throws when the `upload`-th block (from 1) may not take `bytes` more. */
  onWrite: (upload: number, bytes: number) => void = () => {};
  onFinish: (upload: number) => Promise<void> | void = () => {};
  onChunk: (block: BlockId, at: number) => Promise<void> | void = () => {};
  late: () => Promise<readonly Pointer[]> = async () => [];
  /** Nodes that confirm deletions. */
  deletable: readonly NodeId[] = NODES;
  chunkBytes = 256 * 1024;

  async upload(owner: RegisterAddress): Promise<BlockUpload> {
    const number = ++this.uploads;
    const id = parseBlockId(number.toString(16).padStart(32, "0"));
    this.owners.push(owner);
    this.inFlight += 1;
    this.inFlightMost = Math.max(this.inFlightMost, this.inFlight);
    const chunks: Uint8Array[] = [];
    let size = 0;
    let over = false;
    const end = (): void => {
      if (!over) this.inFlight -= 1;
      over = true;
    };
    return {
      write: async (chunk) => {
        this.onWrite(number, chunk.length);
        chunks.push(chunk);
        size += chunk.length;
      },
      finish: async () => {
        await this.onFinish(number);
        end();
        this.blocks.set(id, chunks);
        const replicas = NODES.slice(0, 2).map((node) => ({ node, version: 1 }));
        return { block: { id, size, replicas }, late: this.late() };
      },
      abort: async () => {
        if (!over) this.aborted += 1;
        end();
      },
    };
  }

  async *read(block: BlockRef, from: number, to: number): AsyncIterable<Uint8Array> {
    this.opened.push({ block: block.id, from, to });
    try {
      const chunks = this.blocks.get(block.id);
      if (!chunks) throw new RingstowError("Unavailable", "No replica has the block");
      const bytes = concat(chunks);
      for (let at = from; at < to; at += this.chunkBytes) {
        await this.onChunk(block.id, at);
        yield bytes.subarray(at, Math.min(to, at + this.chunkBytes));
      }
    } finally {
      this.closedReads += 1;
    }
  }

  async discard(block: BlockRef): Promise<void> {
    this.discarded.push(block.id);
    this.blocks.delete(block.id);
  }

  async delete(blocks: readonly BlockRef[]) {
    return blocks.flatMap((block) => {
      const gone = block.replicas.filter(({ node }) => this.deletable.includes(node));
      if (gone.length === block.replicas.length) {
        this.deleted.push(block.id);
        this.blocks.delete(block.id);
      }
      return gone.map(({ node }) => ({ block: block.id, node }));
    });
  }

  async usage() {
    return { freeBytes: 0, totalBytes: 0, usedBytes: 0, blocks: this.blocks.size };
  }
  async start(): Promise<void> {}
  async stop(): Promise<void> {}
}

export function concat(chunks: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(chunks));
}
