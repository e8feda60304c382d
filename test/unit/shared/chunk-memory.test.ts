import fc from "fast-check";
import { expect, test } from "vitest";
import { freeChunk, giveChunk, takeChunk } from "../../../shared/chunk-memory.ts";
import { GatheredChunks } from "../../../shared/gathered-chunks.ts";
import { chunksKeptMax, streamChunkBytes } from "../../../shared/limits.ts";

test("takeChunk gives memory that was given back, and never memory that was not", () => {
  const first = takeChunk(streamChunkBytes);
  const second = takeChunk(streamChunkBytes);
  expect(second.buffer).not.toBe(first.buffer);
  giveChunk(first.subarray(5, 9)); // any view of it
  const third = takeChunk(200_000);
  expect(third.buffer).toBe(first.buffer);
  expect(third.length).toBe(200_000);
  expect(takeChunk(streamChunkBytes).buffer).not.toBe(second.buffer);
});

test("giveChunk twice, or of a chunk from elsewhere, does nothing", () => {
  const chunk = takeChunk(streamChunkBytes);
  giveChunk(chunk);
  giveChunk(chunk);
  const foreign = new Uint8Array(streamChunkBytes);
  giveChunk(foreign);
  giveChunk(Buffer.from("a part of Buffer's pool"));
  expect(foreign.length).toBe(streamChunkBytes);
  const taken = Array.from({ length: 3 }, () => takeChunk(streamChunkBytes).buffer);
  expect(new Set(taken).size).toBe(3);
  expect(taken).not.toContain(foreign.buffer);
});

test("giveChunk keeps chunksKeptMax chunks and frees the others at once", () => {
  const chunks = Array.from({ length: chunksKeptMax + 40 }, () => takeChunk(streamChunkBytes));
  for (const chunk of chunks) giveChunk(chunk);
  expect(chunks.filter((chunk) => chunk.length > 0).length).toBeLessThanOrEqual(chunksKeptMax);
});

test("freeChunk frees a buffer of one's own, and never a part of a larger one", () => {
  const own = Buffer.allocUnsafeSlow(70_000);
  freeChunk(own);
  expect(own.length).toBe(0);
  const part = Buffer.from("a part of Buffer's pool");
  freeChunk(part);
  expect(part.toString()).toBe("a part of Buffer's pool");
});

test("GatheredChunks keep all bytes in order, in chunks that are full but for the last", () => {
  const lengths = fc.array(fc.nat({ max: 300_000 }), { maxLength: 20 });
  fc.assert(
    fc.property(lengths, fc.infiniteStream(fc.boolean()), (sizes, takes) => {
      const chunks = new GatheredChunks();
      const source = Buffer.alloc(sizes.reduce((a, b) => a + b, 0)).map((_, i) => i * 7 + (i >> 8));
      const out: Uint8Array[] = [];
      let at = 0;
      for (const size of sizes) {
        const piece = Buffer.from(source.subarray(at, at + size));
        chunks.add(piece);
        piece.fill(0); // it is not kept
        at += size;
        if (!takes.next().value) continue;
        const full = chunks.takeFull();
        if (!full) continue;
        expect(full).toHaveLength(streamChunkBytes);
        out.push(full.slice());
        giveChunk(full);
      }
      for (let rest = chunks.take(); rest; rest = chunks.take()) out.push(rest);
      expect(chunks.bytes).toBe(0);
      expect(Buffer.compare(Buffer.concat(out), source)).toBe(0);
    }),
    { numRuns: 30 },
  );
});
