// Blocks in memory, two copies at once and a third one late. Tests may fail writes, finishes and reads.
import { createHash } from "node:crypto";
import { RingstowError } from "../../../shared/errors.ts";
import { type BlockId, type NodeId, parseBlockId, parseNodeId } from "../../../shared/ids.ts";
import { type BlockRef, type Pointer } from "../../../shared/records.ts";
import { type BlockUpload, type Data, type DraftPlace } from "../../../node/data/types.ts";
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

  readonly linked: BlockId[] = [];
  onLink: () => void = () => {};

  async link(source: BlockRef, owner: RegisterAddress) {
    this.onLink();
    const chunks = this.blocks.get(source.id);
    if (!chunks) throw new RingstowError("Unavailable", "No replica has the block");
    const id = parseBlockId((++this.uploads).toString(16).padStart(32, "0"));
    this.owners.push(owner);
    this.linked.push(source.id);
    this.blocks.set(id, chunks);
    return { block: { ...source, id }, late: this.late() };
  }

  readonly pulled: { node: NodeId; block: BlockId }[] = [];
  onPull: (node: NodeId) => Promise<void> | void = () => {};

  async pull(node: NodeId, block: BlockRef): Promise<void> {
    await this.onPull(node);
    if (!this.blocks.has(block.id)) throw new RingstowError("Unavailable", "No replica has it");
    this.pulled.push({ node, block: block.id });
  }

  /** Drafts that are not sealed, by block. */
  readonly drafts = new Map<BlockId, Uint8Array>();

  async writeDraft(draft: DraftPlace, at: number, body: AsyncIterable<Uint8Array>) {
    if (this.blocks.has(draft.block)) throw new RingstowError("NoSuchKey", "It is sealed");
    for await (const chunk of body) {
      const old = this.drafts.get(draft.block) ?? this.#baseOf(draft);
      const next = new Uint8Array(Math.max(old.length, at + chunk.length));
      next.set(old);
      next.set(chunk, at);
      this.drafts.set(draft.block, next);
      at += chunk.length;
    }
    return (this.drafts.get(draft.block) ?? this.#baseOf(draft)).length;
  }

  async sealDraft(_node: NodeId, draft: DraftPlace) {
    const bytes = this.drafts.get(draft.block) ?? this.#sealed(draft.block) ?? this.#baseOf(draft);
    this.drafts.delete(draft.block);
    this.blocks.set(draft.block, [bytes]);
    return { size: bytes.length, md5: createHash("md5").update(bytes).digest("hex") };
  }

  async dropDraft(_node: NodeId, block: BlockId): Promise<void> {
    this.drafts.delete(block);
    this.blocks.delete(block);
  }

  #sealed(block: BlockId): Uint8Array | undefined {
    const chunks = this.blocks.get(block);
    return chunks && concat(chunks);
  }

  #baseOf({ base }: DraftPlace): Uint8Array {
    if (base instanceof Uint8Array) return base;
    return base ? this.#sealed(base.id)! : new Uint8Array(0);
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

  /** Where the next copy goes. */
  nextPlace: NodeId | undefined;
  readonly placed: { having: readonly NodeId[]; exclude: readonly NodeId[] }[] = [];
  readonly released: { node: NodeId; block: BlockId }[] = [];

  place(having: readonly NodeId[], exclude: ReadonlySet<NodeId>): NodeId | undefined {
    this.placed.push({ having, exclude: [...exclude] });
    return this.nextPlace;
  }

  async release(node: NodeId, block: BlockId): Promise<boolean> {
    this.released.push({ node, block });
    return this.deletable.includes(node);
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
