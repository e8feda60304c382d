// The memory blocks against the BlockFiles suite, and what only they do: a small disk and power loss.
import { describe, expect, test } from "vitest";
import { openMemoryBlocks } from "../../node/runtime/memory-blocks.ts";
import { MemoryDisk } from "../../node/runtime/memory-disk.ts";
import { VirtualClock } from "../sim/virtual-clock.ts";
import { A, blockId, describeBlocks, load, randomBytes, store } from "./blocks-suite.ts";

for (const syncMs of [0, 4]) {
  describe(`MemoryBlocks with a sync of ${syncMs} ms`, () =>
    describeBlocks(async () => {
      const clock = new VirtualClock();
      const disk = new MemoryDisk();
      return {
        open: async (options) => openMemoryBlocks(disk, clock, { syncMs, ...options }),
        run: (body) => clock.settle(body()),
        corrupt: async (id, offset) => disk.corruptBlock(id, offset),
        end: async () => {},
      };
    }));
}

describe("MemoryBlocks", () => {
  test("write: DiskFull when no space is left, given back by abort()", async () => {
    const clock = new VirtualClock();
    const blocks = openMemoryBlocks(new MemoryDisk({ freeBytes: 1000 }), clock, { syncMs: 1 });
    await clock.settle(store(blocks, A, randomBytes(600)));
    const writer = await blocks.create(blockId(2));
    await writer.write(randomBytes(300));
    await expect(writer.write(randomBytes(200))).rejects.toMatchObject({ code: "DiskFull" });
    await writer.abort();
    expect(await blocks.usage()).toEqual({
      freeBytes: 400,
      totalBytes: 1000,
      usedBytes: 600,
      blocks: 1,
    });
  });

  test("powerLoss: keeps sealed blocks, loses the rest; a delete that was not synced is undone", async () => {
    const clock = new VirtualClock();
    const disk = new MemoryDisk();
    const blocks = openMemoryBlocks(disk, clock, { syncMs: 5 });
    const [B, C] = [blockId(2), blockId(3)];
    await clock.settle(store(blocks, A, randomBytes(10)));
    let answered = 0;
    const count = (): void => {
      answered++;
    };
    store(blocks, B, randomBytes(10)).then(count, count);
    const staged = await blocks.create(C);
    await staged.write(randomBytes(10));
    blocks.delete(A).then(count, count);
    await clock.runFor(4);
    disk.powerLoss();
    await expect(staged.write(randomBytes(1))).rejects.toThrow("power was lost");
    await expect(blocks.stat(A)).rejects.toThrow("power was lost");
    const next = openMemoryBlocks(disk, clock, { syncMs: 5 });
    await clock.runFor(100);
    expect(answered).toBe(0);
    expect(await load(next, A, 0, 10)).toEqual(randomBytes(10));
    expect(await next.stat(B)).toBeUndefined();
    expect(await next.stat(C)).toBeUndefined();
    expect(await next.usage()).toMatchObject({ blocks: 1, usedBytes: 10 });
  });

  test("powerLoss: keeps a link whose source's deletion was durable, loses one that was not synced", async () => {
    const clock = new VirtualClock();
    const disk = new MemoryDisk();
    const blocks = openMemoryBlocks(disk, clock, { syncMs: 5 });
    const [B, C] = [blockId(2), blockId(3)];
    await clock.settle(store(blocks, A, randomBytes(10)));
    await clock.settle(blocks.link(A, B));
    await clock.settle(blocks.delete(A));
    blocks.link(B, C).catch(() => {});
    await clock.runFor(4);
    disk.powerLoss();
    const next = openMemoryBlocks(disk, clock, { syncMs: 5 });
    expect(await load(next, B, 0, 10)).toEqual(randomBytes(10));
    expect(await next.stat(C)).toBeUndefined();
    expect(await next.usage()).toMatchObject({ blocks: 1, usedBytes: 10 });
  });
});
