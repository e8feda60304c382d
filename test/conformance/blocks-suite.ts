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
