// What every implementation of the BlockFiles port must do (node/ports.ts).
import { afterEach, beforeEach, expect, test } from "vitest";
import { type BlockFiles, type BlockSeal } from "../../node/ports.ts";
import { nodeDigest } from "../../node/runtime/node-digest.ts";
import { type BlockId, parseBlockId } from "../../shared/ids.ts";
import { pieceBytes, streamChunkBytes } from "../../shared/limits.ts";
import { SeededChance } from "../sim/seeded-chance.ts";

export interface BlocksWorld {
  /** Opens the blocks of this world; after close() they can be opened again. */
  open(options?: { reserveBytes?: number }): Promise<BlockFiles>;
  /** Runs a body; a world with virtual time lets it pass meanwhile. */
  run<T>(body: () => Promise<T>): Promise<T>;
  /** Flips one bit of a stored block's data. */
  corrupt(id: BlockId, offset: number): Promise<void>;
  end(): Promise<void>;
}

export const blockId = (n: number): BlockId =>
  parseBlockId((n * 0x1f2f3f4f).toString(16).padStart(32, "0"));
export const A = blockId(1);
const B = blockId(2);
export const randomBytes = (count: number): Uint8Array => new SeededChance(count).bytes(count);
export const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** Stores a block in chunks of these sizes, again and again. */
export async function store(
  blocks: BlockFiles,
  id: BlockId,
  data: Uint8Array,
  chunkSizes: readonly number[] = [65_536],
): Promise<BlockSeal> {
  const writer = await blocks.create(id);
  // One array for all chunks: a writer that keeps a chunk would store wrong bytes.
  const chunk = new Uint8Array(Math.max(...chunkSizes));
  for (let at = 0, i = 0; at < data.length; i++) {
    const part = data.subarray(at, at + chunkSizes[i % chunkSizes.length]!);
    chunk.set(part);
    await writer.write(chunk.subarray(0, part.length));
    chunk.fill(0xee);
    at += part.length;
  }
  return writer.seal();
}

export async function load(
  blocks: BlockFiles,
  id: BlockId,
  from: number,
  to: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of blocks.read(id, from, to)) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks));
}

export function describeBlocks(makeWorld: () => Promise<BlocksWorld>): void {
  let world: BlocksWorld;
  let blocks: BlockFiles;
  beforeEach(async () => {
    world = await makeWorld();
    blocks = await world.open();
  });
  afterEach(() => world.end());

  for (const size of [0, 1, 131_071, 131_072, 131_073, 262_144, 300_000, 5_000_001]) {
    test(`write, seal, read: round trip of ${size} bytes, whatever the chunks`, () =>
      world.run(async () => {
        const data = randomBytes(size);
        for (const [i, sizes] of [[65_536], [1_000_003], [262_144], [1, 300_000, 7]].entries()) {
          const id = blockId(10 + i);
          const seal = await store(blocks, id, data, sizes);
          expect(seal.size).toBe(size);
          const pieces = Array.from({ length: Math.ceil(size / pieceBytes) }, (_, piece) =>
            nodeDigest.crc32(data.subarray(piece * pieceBytes, (piece + 1) * pieceBytes)),
          );
          expect([...seal.pieceCrcs]).toEqual(pieces);
          expect(await blocks.stat(id)).toEqual({ id, size });
          expect(same(await load(blocks, id, 0, size), data)).toBe(true);
        }
      }));
  }

  test("read: any range, in chunks of at most streamChunkBytes that may be kept", () =>
    world.run(async () => {
      const data = randomBytes(1_000_000);
      await store(blocks, A, data);
      const edges = [
        0, 1, 131_071, 131_072, 131_073, 262_143, 262_144, 262_145, 777_777, 999_999, 1_000_000,
      ];
      for (const from of edges) {
        for (const to of edges.filter((edge) => edge >= from)) {
          const kept: Uint8Array[] = [];
          for await (const chunk of blocks.read(A, from, to)) {
            expect(chunk.length).toBeGreaterThan(0);
            expect(chunk.length).toBeLessThanOrEqual(streamChunkBytes);
            expect(Object.getPrototypeOf(chunk)).toBe(Uint8Array.prototype);
            kept.push(chunk);
          }
          expect(same(Buffer.concat(kept), data.subarray(from, to))).toBe(true);
        }
      }
    }));

  test("read: NoSuchKey without the block, InvalidRange beyond its end", () =>
    world.run(async () => {
      await expect(load(blocks, A, 0, 0)).rejects.toMatchObject({ code: "NoSuchKey" });
      await store(blocks, A, randomBytes(10));
      for (const [from, to] of [
        [0, 11],
        [-1, 5],
        [7, 6],
        [Number.NaN, 3],
      ] as const) {
        await expect(load(blocks, A, from, to)).rejects.toMatchObject({ code: "InvalidRange" });
      }
    }));

  test("read: Corrupt at a bad piece, and never a byte of it; other pieces are served", () =>
    world.run(async () => {
      const data = randomBytes(700_000);
      await store(blocks, A, data);
      await world.corrupt(A, 300_000); // piece 2: bytes 262,144 to 393,215
      const read = async (from: number, to: number): Promise<number> => {
        let at = from;
        for await (const chunk of blocks.read(A, from, to)) {
          expect(same(chunk, data.subarray(at, at + chunk.length))).toBe(true);
          at += chunk.length;
        }
        return at;
      };
      expect(await read(0, 262_144)).toBe(262_144);
      expect(await read(393_216, 700_000)).toBe(700_000);
      for (const [from, to] of [
        [0, 700_000],
        [262_144, 262_145],
        [393_215, 393_216],
        [300_000, 300_001],
      ] as const) {
        await expect(read(from, to)).rejects.toMatchObject({ code: "Corrupt" });
      }
    }));

  test("read: a consumer may stop early, before the first chunk too", () =>
    world.run(async () => {
      await store(blocks, A, randomBytes(2_000_000));
      for await (const chunk of blocks.read(A, 0, 2_000_000)) {
        expect(chunk.length).toBe(streamChunkBytes);
        break;
      }
      const unused = blocks.read(A, 0, 2_000_000)[Symbol.asyncIterator]();
      await unused.return!();
      expect(await blocks.delete(A)).toBe(true);
    }));

  test("read: goes on while the block is deleted", () =>
    world.run(async () => {
      const data = randomBytes(2_000_000);
      await store(blocks, A, data);
      let at = 0;
      for await (const chunk of blocks.read(A, 0, data.length)) {
        if (at === 0) expect(await blocks.delete(A)).toBe(true);
        expect(same(chunk, data.subarray(at, at + chunk.length))).toBe(true);
        at += chunk.length;
      }
      expect(at).toBe(data.length);
      await expect(load(blocks, A, 0, 1)).rejects.toMatchObject({ code: "NoSuchKey" });
    }));

  test("seal: the block exists only afterwards, and after a reopening", () =>
    world.run(async () => {
      const data = randomBytes(300_000);
      const writer = await blocks.create(A);
      await writer.write(data);
      expect(await blocks.stat(A)).toBeUndefined();
      await expect(load(blocks, A, 0, 1)).rejects.toMatchObject({ code: "NoSuchKey" });
      expect((await blocks.usage()).blocks).toBe(0);
      await writer.seal();
      const usage = await blocks.usage();
      expect(usage.blocks).toBe(1);
      await blocks.close();
      blocks = await world.open();
      expect(await blocks.stat(A)).toEqual({ id: A, size: 300_000 });
      expect(same(await load(blocks, A, 0, 300_000), data)).toBe(true);
      expect(await blocks.usage()).toMatchObject({ blocks: 1, usedBytes: usage.usedBytes });
    }));

  test("seal: of two writers of one id the first wins, the second replaces nothing", () =>
    world.run(async () => {
      const [first, second] = [await blocks.create(A), await blocks.create(A)];
      await first.write(new Uint8Array([1]));
      await second.write(new Uint8Array([2, 2]));
      const ends = await Promise.allSettled([first.seal(), second.seal()]);
      expect(ends.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      const winner = ends[0].status === "fulfilled" ? [1] : [2, 2];
      expect([...(await load(blocks, A, 0, winner.length))]).toEqual(winner);
      await first.abort();
      await second.abort();
      const late = await blocks.create(A);
      await late.write(new Uint8Array([3]));
      await expect(late.seal()).rejects.toThrow("exists already");
      expect([...(await load(blocks, A, 0, winner.length))]).toEqual(winner);
      expect((await blocks.usage()).blocks).toBe(1);
    }));

  test("abort: removes what was written; harmless twice and after seal()", () =>
    world.run(async () => {
      const writer = await blocks.create(A);
      await writer.write(randomBytes(400_000));
      await writer.abort();
      await writer.abort();
      await expect(writer.write(new Uint8Array(1))).rejects.toThrow("given up");
      await expect(writer.seal()).rejects.toThrow("given up");
      expect(await blocks.stat(A)).toBeUndefined();
      expect(await blocks.usage()).toMatchObject({ blocks: 0, usedBytes: 0 });
      const again = await blocks.create(A);
      await again.write(new Uint8Array([7]));
      await again.seal();
      await again.abort();
      await expect(again.write(new Uint8Array(1))).rejects.toThrow("sealed");
      expect([...(await load(blocks, A, 0, 1))]).toEqual([7]);
    }));

  test("abort: while a write or a seal is under way leaves all or nothing", () =>
    world.run(async () => {
      const writing = await blocks.create(A);
      const written = writing.write(randomBytes(900_000)).catch(() => {});
      await Promise.all([writing.abort(), written]);
      expect(await blocks.stat(A)).toBeUndefined();
      const sealing = await blocks.create(B);
      await sealing.write(randomBytes(900_000));
      const sealed = sealing.seal().then(
        () => true,
        () => false,
      );
      await sealing.abort();
      expect((await blocks.stat(B)) !== undefined).toBe(await sealed);
    }));

  test("delete: true once, false for what is not there; gives the space back", () =>
    world.run(async () => {
      expect(await blocks.delete(A)).toBe(false);
      await store(blocks, A, randomBytes(50_000));
      await store(blocks, B, randomBytes(60_000));
      expect((await blocks.usage()).usedBytes).toBeGreaterThanOrEqual(110_000);
      const deleted = await Promise.all([blocks.delete(A), blocks.delete(A)]);
      expect(new Set(deleted)).toEqual(new Set([false, true]));
      expect(await blocks.stat(A)).toBeUndefined();
      expect((await blocks.usage()).blocks).toBe(1);
      expect(await blocks.delete(B)).toBe(true);
      expect(await blocks.usage()).toMatchObject({ blocks: 0, usedBytes: 0 });
      await store(blocks, A, new Uint8Array([9]));
      expect([...(await load(blocks, A, 0, 1))]).toEqual([9]);
    }));

  test("createDraft: bytes in any order, holes read as zeros, sealed as any block", () =>
    world.run(async () => {
      const data = randomBytes(600_000);
      const draft = await blocks.createDraft(A);
      const chunk = data.slice(400_000, 500_000);
      await draft.write(400_000, chunk);
      chunk.fill(0xee); // a draft that keeps the chunk would store wrong bytes
      expect(draft.size).toBe(500_000);
      await draft.write(0, data.subarray(0, 100_000));
      await draft.write(50_000, data.subarray(100_000, 150_000));
      await draft.write(900_000, new Uint8Array(0));
      expect(draft.size).toBe(500_000);
      expect(await blocks.stat(A)).toBeUndefined();
      const seal = await draft.seal();
      const expected = new Uint8Array(500_000);
      expected.set(data.subarray(0, 50_000));
      expected.set(data.subarray(100_000, 150_000), 50_000);
      expected.set(data.subarray(400_000, 500_000), 400_000);
      const pieces = Array.from({ length: 4 }, (_, piece) =>
        nodeDigest.crc32(expected.subarray(piece * pieceBytes, (piece + 1) * pieceBytes)),
      );
      expect(seal).toEqual({ size: 500_000, pieceCrcs: Uint32Array.from(pieces) });
      expect(same(await load(blocks, A, 0, 500_000), expected)).toBe(true);
      await expect(draft.write(0, new Uint8Array(1))).rejects.toThrow("sealed");
      await draft.abort();
      await blocks.close();
      blocks = await world.open();
      expect(same(await load(blocks, A, 0, 500_000), expected)).toBe(true);
    }));

  test("createDraft: truncate cuts and extends with zeros; an empty draft is an empty block", () =>
    world.run(async () => {
      const draft = await blocks.createDraft(A);
      await draft.write(0, new Uint8Array([1, 2, 3, 4]));
      await draft.truncate(2);
      expect(draft.size).toBe(2);
      await draft.truncate(5);
      await draft.write(6, new Uint8Array([7]));
      expect((await draft.seal()).size).toBe(7);
      expect([...(await load(blocks, A, 0, 7))]).toEqual([1, 2, 0, 0, 0, 0, 7]);
      expect((await (await blocks.createDraft(B)).seal()).size).toBe(0);
      expect(await blocks.stat(B)).toEqual({ id: B, size: 0 });
    }));

  test("createDraft: abort() leaves nothing; a seal replaces no block; close() gives drafts up", () =>
    world.run(async () => {
      const given = await blocks.createDraft(A);
      await given.write(10, randomBytes(400_000));
      await given.abort();
      await given.abort();
      await expect(given.write(0, new Uint8Array(1))).rejects.toThrow("given up");
      await expect(given.seal()).rejects.toThrow("given up");
      expect(await blocks.usage()).toMatchObject({ blocks: 0, usedBytes: 0 });
      await store(blocks, A, new Uint8Array([5]));
      const second = await blocks.createDraft(A);
      await second.write(0, new Uint8Array([6, 6]));
      await expect(second.seal()).rejects.toThrow("exists already");
      await second.abort();
      expect([...(await load(blocks, A, 0, 1))]).toEqual([5]);
      const open = await blocks.createDraft(B);
      await open.write(0, new Uint8Array([1]));
      await blocks.close();
      await expect(open.seal()).rejects.toThrow("Cannot seal");
      blocks = await world.open({ reserveBytes: 1e18 });
      expect(await blocks.usage()).toMatchObject({ blocks: 1 });
      await expect(blocks.createDraft(B)).rejects.toMatchObject({ code: "DiskFull" });
    }));

  test("link: a second name of the same bytes, which take room once; each lives without the other", () =>
    world.run(async () => {
      const data = randomBytes(300_000);
      await store(blocks, A, data);
      const { usedBytes } = await blocks.usage();
      expect(await blocks.link(A, B)).toEqual({ id: B, size: 300_000 });
      expect(await blocks.link(A, B)).toEqual({ id: B, size: 300_000 });
      expect(await blocks.link(B, blockId(3))).toEqual({ id: blockId(3), size: 300_000 });
      expect(await blocks.usage()).toMatchObject({ blocks: 3, usedBytes });
      expect(await blocks.stat(B)).toEqual({ id: B, size: 300_000 });
      await blocks.close();
      blocks = await world.open();
      expect(await blocks.usage()).toMatchObject({ blocks: 3, usedBytes });
      expect(await blocks.delete(A)).toBe(true);
      expect(await blocks.stat(A)).toBeUndefined();
      expect(same(await load(blocks, B, 0, 300_000), data)).toBe(true);
      await store(blocks, A, new Uint8Array([9]));
      expect(await blocks.delete(A)).toBe(true);
      expect(await Promise.all([blocks.delete(B), blocks.delete(B)])).toContain(true);
      expect(same(await load(blocks, blockId(3), 0, 300_000), data)).toBe(true);
      expect(await blocks.usage()).toMatchObject({ blocks: 1, usedBytes });
      expect(await blocks.delete(blockId(3))).toBe(true);
      expect(await blocks.usage()).toMatchObject({ blocks: 0, usedBytes: 0 });
    }));

  test("link: NoSuchKey without the source; never replaces a block, nor is replaced", () =>
    world.run(async () => {
      await expect(blocks.link(A, B)).rejects.toMatchObject({ code: "NoSuchKey" });
      await store(blocks, A, new Uint8Array([1]));
      await store(blocks, B, new Uint8Array([2]));
      await expect(blocks.link(A, B)).rejects.toThrow("with other bytes");
      await blocks.link(A, blockId(3));
      const writer = await blocks.create(blockId(3));
      await writer.write(new Uint8Array([4]));
      await expect(writer.seal()).rejects.toThrow("exists already");
      expect([...(await load(blocks, blockId(3), 0, 1))]).toEqual([1]);
      expect([...(await load(blocks, B, 0, 1))]).toEqual([2]);
    }));

  test("link: a bad piece is found under every name", () =>
    world.run(async () => {
      await store(blocks, A, randomBytes(1_000));
      await blocks.link(A, B);
      await world.corrupt(A, 10);
      await expect(load(blocks, B, 0, 1_000)).rejects.toMatchObject({ code: "Corrupt" });
    }));

  test("create: DiskFull below the reserve; reading goes on", () =>
    world.run(async () => {
      await store(blocks, A, new Uint8Array([5]));
      await blocks.close();
      blocks = await world.open({ reserveBytes: 1e18 });
      await expect(blocks.create(B)).rejects.toMatchObject({ code: "DiskFull" });
      expect([...(await load(blocks, A, 0, 1))]).toEqual([5]);
    }));

  test("close: gives up open writers; later calls reject", () =>
    world.run(async () => {
      const writer = await blocks.create(A);
      await writer.write(randomBytes(10));
      await blocks.close();
      await expect(writer.seal()).rejects.toThrow("Cannot seal");
      await expect(blocks.create(B)).rejects.toMatchObject({ code: "Unavailable" });
      await expect(blocks.stat(A)).rejects.toMatchObject({ code: "Unavailable" });
      await expect(load(blocks, A, 0, 0)).rejects.toMatchObject({ code: "Unavailable" });
      blocks = await world.open();
      expect(await blocks.usage()).toMatchObject({ blocks: 0, usedBytes: 0 });
    }));
}
