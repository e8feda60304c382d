import { expect, test } from "vitest";
import { OwnCopies } from "../../../node/data/own-copies.ts";
import { StagedBlocks } from "../../../node/data/staged.ts";
import { MemoryDisk, openMemoryStore } from "../../../node/runtime/memory-store.ts";
import { RingstowError } from "../../../shared/errors.ts";
import { type BlockId } from "../../../shared/ids.ts";
import { stagedLeaseMs, sweepMs } from "../../../shared/limits.ts";
import { type BlockRef } from "../../../shared/records.ts";
import { DataCluster, OWNER, someBytes } from "./data-cluster.ts";

const LEASE_AND_SWEEP = stagedLeaseMs + sweepMs + 1_000;

async function stored(): Promise<{ cluster: DataCluster; block: BlockRef; asked: BlockId[] }> {
  const cluster = new DataCluster(3);
  const asked: BlockId[] = [];
  cluster.disown = (owner, block) => {
    expect(owner).toEqual(OWNER);
    asked.push(block);
    return Promise.resolve("disowned");
  };
  await cluster.start();
  const block = await put(cluster);
  return { cluster, block, asked };
}

async function put(cluster: DataCluster): Promise<BlockRef> {
  const run = async (): Promise<BlockRef> => {
    const upload = await cluster.nodes[0]!.data.upload(OWNER, {});
    await upload.write(someBytes(100_000));
    return (await upload.finish()).block;
  };
  return cluster.clock.settle(run());
}

const rowsOf = async (cluster: DataCluster): Promise<string[]> =>
  (await Promise.all(cluster.nodes.map((node) => node.rows()))).flat();

test("sweep leaves a staged block alone while its lease lasts", async () => {
  const { cluster, block, asked } = await stored();
  await cluster.clock.runFor(stagedLeaseMs - 1_000);
  expect(asked).toEqual([]);
  expect(await cluster.holders(block.id)).toHaveLength(3);
});

test("sweep deletes a block that its owner disowned", async () => {
  const { cluster, block, asked } = await stored();
  await cluster.clock.runFor(LEASE_AND_SWEEP);
  expect(asked).toEqual([block.id, block.id, block.id]);
  expect(await cluster.holders(block.id)).toEqual([]);
  expect(await rowsOf(cluster)).toEqual([]);
});

test("sweep keeps a referenced block and asks only once", async () => {
  const { cluster, block, asked } = await stored();
  cluster.disown = (_, id) => {
    asked.push(id);
    return Promise.resolve("referenced");
  };
  await cluster.clock.runFor(LEASE_AND_SWEEP * 2);
  expect(asked).toHaveLength(3);
  expect(await cluster.holders(block.id)).toHaveLength(3);
  expect(await rowsOf(cluster)).toEqual([]);
});

test("sweep asks again when the owner could not be asked, and keeps the block meanwhile", async () => {
  const { cluster, block, asked } = await stored();
  let failures = 0;
  cluster.disown = () => {
    failures++;
    return Promise.reject(new Error("no majority"));
  };
  await cluster.clock.runFor(LEASE_AND_SWEEP);
  expect(failures).toBeGreaterThanOrEqual(3);
  expect(await cluster.holders(block.id)).toHaveLength(3);
  expect(await rowsOf(cluster)).toHaveLength(3);
  cluster.disown = (_, id) => {
    asked.push(id);
    return Promise.resolve("disowned");
  };
  await cluster.clock.runFor(sweepMs + 1_000);
  expect(asked).toHaveLength(3);
  expect(await cluster.holders(block.id)).toEqual([]);
});

test("sweep walks over more rows than one page has", async () => {
  const { cluster, asked } = await stored();
  for (let i = 0; i < 450; i++) await put(cluster);
  await cluster.clock.runFor(LEASE_AND_SWEEP);
  expect(asked).toHaveLength(451 * 3);
  expect(await rowsOf(cluster)).toEqual([]);
}, 30_000);

test("a node that dies between seal and report keeps the block staged for its owner", async () => {
  const { cluster, asked } = await stored();
  const victim = cluster.nodes[1]!;
  const before = asked.length;
  // The power goes in the moment in which the sealed file appears.
  const crashed = new Promise<void>((resolve) => {
    const watch = async (): Promise<void> => {
      const { blocks } = await victim.blocks.usage();
      if (blocks === 2) {
        cluster.crash(victim);
        resolve();
      } else cluster.clock.after(0.5, () => void watch());
    };
    void watch();
  });
  const block = await put(cluster);
  await crashed;
  await cluster.restart(victim);
  expect(await victim.blocks.stat(block.id)).toBeDefined();
  expect(await victim.rows()).toContain(`d/${block.id}`);
  await cluster.clock.runFor(LEASE_AND_SWEEP);
  expect(asked.slice(before).filter((id) => id === block.id)).toHaveLength(3);
  expect(await victim.rows()).toEqual([]);
  expect(await victim.blocks.stat(block.id)).toBeUndefined();
});

test("a node that dies before the seal leaves a row, which goes without asking anybody", async () => {
  const { cluster, asked } = await stored();
  const victim = cluster.nodes[1]!;
  victim.faults.sealHeld = new Promise(() => {});
  const block = await put(cluster);
  cluster.crash(victim);
  victim.faults.sealHeld = undefined;
  await cluster.restart(victim);
  expect(await victim.rows()).toContain(`d/${block.id}`);
  await cluster.clock.runFor(LEASE_AND_SWEEP);
  expect(await victim.rows()).toEqual([]);
  expect(asked.filter((id) => id === block.id)).toHaveLength(2);
});

test("discard deletes all staged copies now, twice without harm", async () => {
  const { cluster, block } = await stored();
  await cluster.clock.settle(cluster.nodes[2]!.data.discard(block));
  expect(await cluster.holders(block.id)).toEqual([]);
  expect(await rowsOf(cluster)).toEqual([]);
  await cluster.clock.settle(cluster.nodes[2]!.data.discard(block));
});

test("discard leaves a block that is staged no more", async () => {
  const { cluster, block } = await stored();
  cluster.disown = () => Promise.resolve("referenced");
  await cluster.clock.runFor(LEASE_AND_SWEEP);
  await cluster.clock.settle(cluster.nodes[0]!.data.discard(block));
  expect(await cluster.holders(block.id)).toHaveLength(3);
});

test("delete answers the copies that are gone, and is idempotent", async () => {
  const { cluster, block } = await stored();
  const other = await put(cluster);
  const down = cluster.nodes[2]!;
  cluster.crash(down);
  const gone = await cluster.clock.settle(cluster.nodes[0]!.data.delete([block, other]));
  const expected = [block, other].flatMap(({ id }) =>
    cluster.nodes.slice(0, 2).map((node) => ({ block: id, node: node.id })),
  );
  expect(new Set(gone.map((g) => g.block + g.node))).toEqual(
    new Set(expected.map((g) => g.block + g.node)),
  );
  await cluster.restart(down);
  const again = await cluster.clock.settle(cluster.nodes[0]!.data.delete([block, other]));
  expect(again).toHaveLength(6);
  expect(await cluster.holders(block.id)).toEqual([]);
  expect(await rowsOf(cluster)).toEqual([]);
  expect(await cluster.clock.settle(cluster.nodes[1]!.data.usage())).toMatchObject({ blocks: 0 });
});

test("OwnCopies.seal makes no file before its row is durable", async () => {
  const cluster = new DataCluster(1);
  const node = cluster.nodes[0]!;
  const rows = new MemoryDisk();
  const slowStore = openMemoryStore(rows, cluster.clock, { syncMs: 1_000 });
  const copies = new OwnCopies(node.blocks, new StagedBlocks(slowStore, node.clock), () => {});
  const block = "b".repeat(32) as BlockId;
  let sealed = false;
  const run = async (): Promise<void> => {
    const copy = await copies.start(block, OWNER, "1".repeat(32));
    await copy.write(someBytes(1000));
    await copy.seal();
    sealed = true;
  };
  const running = run();
  await cluster.clock.runFor(900);
  expect(await node.blocks.stat(block)).toBeUndefined();
  await cluster.clock.settle(running);
  expect(sealed).toBe(true);
  expect(slowStore.get(`d/${block}`)).toBeDefined();
});

test("OwnCopies: giving up one attempt leaves another attempt's copy of the same block", async () => {
  const cluster = new DataCluster(1);
  const node = cluster.nodes[0]!;
  const staged = new StagedBlocks(node.store, node.clock);
  const copies = new OwnCopies(node.blocks, staged, () => {});
  const block = "b".repeat(32) as BlockId;
  const [first, second] = ["1".repeat(32), "2".repeat(32)] as const;
  const run = async (): Promise<void> => {
    const older = await copies.start(block, OWNER, first);
    await older.write(someBytes(10));
    const newer = await copies.start(block, OWNER, second);
    await newer.write(someBytes(1000));
    await copies.discard(block, [first]);
    await expect(older.seal()).rejects.toMatchObject({ code: "Unavailable" });
    await newer.seal();
    expect(copies.isLive(block)).toBe(false);
    await copies.discard(block, [first]);
    expect(await node.blocks.stat(block)).toMatchObject({ size: 1000 });
    expect(staged.find(block)?.attempt).toBe(second);
    await copies.discard(block, [first, second]);
    expect(await node.blocks.stat(block)).toBeUndefined();
    expect(staged.find(block)).toBeUndefined();
  };
  await cluster.clock.settle(run());
});

test("OwnCopies: a second copy with the same bytes is durable, with others it fails", async () => {
  const cluster = new DataCluster(1);
  const node = cluster.nodes[0]!;
  const staged = new StagedBlocks(node.store, node.clock);
  const copies = new OwnCopies(node.blocks, staged, () => {});
  const block = "b".repeat(32) as BlockId;
  const run = async (): Promise<void> => {
    const writes = ["1", "2", "3"].map((digit) => copies.start(block, OWNER, digit.repeat(32)));
    const [one, two, short] = await Promise.all(writes);
    await one!.write(someBytes(1000));
    await two!.write(someBytes(1000));
    await short!.write(someBytes(999));
    await one!.seal();
    await two!.seal();
    await expect(short!.seal()).rejects.toThrow();
    expect(await node.blocks.stat(block)).toMatchObject({ size: 1000 });
    expect(staged.find(block)).toBeDefined();
  };
  await cluster.clock.settle(run());
});

test("free space is announced at start, every 10 s, and when the disk refuses", async () => {
  const { cluster } = await stored();
  const node = cluster.nodes[1]!;
  const { totalBytes, freeBytes } = await node.blocks.usage();
  expect(node.free.capacityBytes).toBe(totalBytes);
  expect(node.free.freeBytes).toBe(totalBytes); // measured before the upload
  await cluster.clock.runFor(10_001);
  expect(node.free.freeBytes).toBe(freeBytes);
  node.free = { capacityBytes: 0, freeBytes: 0 };
  node.faults.full = true;
  await put(cluster);
  expect(node.free).toEqual({ capacityBytes: totalBytes, freeBytes });
});

test("stop ends all timers", async () => {
  const { cluster } = await stored();
  await cluster.clock.settle(Promise.all(cluster.nodes.map((node) => node.data.stop())));
  await cluster.clock.runFor(100);
  const { events } = cluster.clock;
  await cluster.clock.runFor(2 * sweepMs);
  expect(cluster.clock.events).toBe(events);
});

test("OwnCopies.remove deletes a damaged block, and those after it", async () => {
  const cluster = new DataCluster(1);
  const node = cluster.nodes[0]!;
  const staged = new StagedBlocks(node.store, node.clock);
  const [damaged, whole] = ["b".repeat(32), "c".repeat(32)] as BlockId[];
  const blocks = {
    ...node.blocks,
    stat: (id: BlockId) =>
      id === damaged ? Promise.reject(new RingstowError("Corrupt")) : node.blocks.stat(id),
  };
  const copies = new OwnCopies(blocks, staged, () => {});
  const run = async (): Promise<void> => {
    for (const block of [damaged!, whole!]) {
      const copy = await copies.start(block, OWNER, "1".repeat(32));
      await copy.write(someBytes(10));
      await copy.seal();
    }
    await copies.remove([damaged!, whole!]);
    expect(await node.blocks.usage()).toMatchObject({ blocks: 0 });
    expect(await node.rows()).toEqual([]);
  };
  await cluster.clock.settle(run());
});
