import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { type DraftPlace } from "../../../node/data/types.ts";
import { type BlockId, parseBlockId } from "../../../shared/ids.ts";
import {
  blockBytesMax,
  draftIdleMs,
  draftsOpenMax,
  stagedLeaseMs,
  sweepMs,
} from "../../../shared/limits.ts";
import { type BlockRef } from "../../../shared/records.ts";
import { chunksOf, collect, DataCluster, OWNER, someBytes } from "./data-cluster.ts";

const idOf = (n: number): BlockId => parseBlockId(n.toString(16).padStart(32, "0"));
const BLOCK = idOf(77);
const md5 = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("hex");
const place = (base?: BlockRef | Uint8Array): DraftPlace => ({ block: BLOCK, owner: OWNER, base });

async function* body(bytes: Uint8Array, size?: number): AsyncIterable<Uint8Array> {
  yield* chunksOf(bytes, size);
}

async function started(size = 3): Promise<DataCluster> {
  const cluster = new DataCluster(size);
  await cluster.start();
  return cluster;
}

async function put(cluster: DataCluster, bytes: Uint8Array): Promise<BlockRef> {
  const run = async (): Promise<BlockRef> => {
    const upload = await cluster.nodes[0]!.data.upload(OWNER, {});
    for (const chunk of chunksOf(bytes)) await upload.write(chunk);
    return (await upload.finish()).block;
  };
  return cluster.clock.settle(run());
}

const refOf = (cluster: DataCluster, n: number, size: number): BlockRef => ({
  id: BLOCK,
  size,
  replicas: [{ node: cluster.nodes[n]!.id, version: 2 }],
});

test("writeDraft starts from a block on other nodes, and sealDraft answers size and MD5 of what is there", async () => {
  const cluster = await started(4);
  const base = someBytes(700_000);
  const block = await put(cluster, base);
  const holders = await cluster.holders(block.id);
  const there = cluster.nodes.find((node) => !holders.includes(node.id))!;
  const patch = someBytes(300_001, 2);
  const size = await cluster.clock.settle(
    there.data.writeDraft(place(block), 650_000, body(patch, 999)),
  );
  expect(size).toBe(950_001);
  expect(await there.blocks.stat(BLOCK)).toBeUndefined();
  const expected = new Uint8Array(950_001);
  expected.set(base);
  expected.set(patch, 650_000);
  const remote = cluster.nodes.find((node) => node !== there)!;
  const sealed = await cluster.clock.settle(remote.data.sealDraft(there.id, place(block)));
  expect(sealed).toEqual({ size: 950_001, md5: md5(expected) });
  expect(await cluster.clock.settle(remote.data.sealDraft(there.id, place(block)))).toEqual(sealed);
  const ref = refOf(cluster, cluster.nodes.indexOf(there), 950_001);
  const read = await cluster.clock.settle(collect(remote.data.read(ref, 0, ref.size)));
  expect(Buffer.compare(read, expected)).toBe(0);
  expect(await there.rows()).toContain(`d/${BLOCK}`);
  // The base is as it was.
  const old = await cluster.clock.settle(collect(remote.data.read(block, 0, block.size)));
  expect(Buffer.compare(old, base)).toBe(0);
});

test("writeDraft starts from bytes or from nothing; a gap reads as zeros", async () => {
  const cluster = await started();
  const [one, two] = cluster.nodes;
  const write = one!.data.writeDraft(
    place(new Uint8Array([1, 2, 3])),
    1,
    body(new Uint8Array([9])),
  );
  expect(await cluster.clock.settle(write)).toBe(3);
  expect(await cluster.clock.settle(one!.data.sealDraft(one!.id, place()))).toEqual({
    size: 3,
    md5: md5(new Uint8Array([1, 9, 3])),
  });
  await cluster.clock.settle(two!.data.writeDraft(place(), 4, body(new Uint8Array([5]))));
  expect(await cluster.clock.settle(two!.data.sealDraft(two!.id, place()))).toEqual({
    size: 5,
    md5: md5(new Uint8Array([0, 0, 0, 0, 5])),
  });
});

test("sealDraft makes a draft that nobody wrote to of its base", async () => {
  const cluster = await started();
  const bytes = someBytes(500_000);
  const block = await put(cluster, bytes);
  const [one, two] = cluster.nodes;
  const sealed = await cluster.clock.settle(one!.data.sealDraft(two!.id, place(block)));
  expect(sealed).toEqual({ size: 500_000, md5: md5(bytes) });
  const inline = { ...place(new Uint8Array([7])), block: idOf(78) };
  expect(await cluster.clock.settle(one!.data.sealDraft(two!.id, inline))).toMatchObject({
    size: 1,
  });
});

test("writeDraft lets one body after another in, in the order of the calls", async () => {
  const cluster = await started();
  const [node] = cluster.nodes;
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  async function* slow(): AsyncIterable<Uint8Array> {
    yield new Uint8Array(300_000).fill(1);
    await held;
    yield new Uint8Array(300_000).fill(1);
  }
  const order: number[] = [];
  const first = node!.data.writeDraft(place(), 0, slow()).then(() => order.push(1));
  const second = node!.data
    .writeDraft(place(), 0, body(new Uint8Array(10).fill(2)))
    .then(() => order.push(2));
  const sealed = node!.data.sealDraft(node!.id, place()).then((what) => {
    order.push(3);
    return what;
  });
  await cluster.clock.runFor(1_000);
  expect(order).toEqual([]);
  release();
  await cluster.clock.settle(Promise.all([first, second]));
  const expected = new Uint8Array(600_000).fill(1).fill(2, 0, 10);
  expect(await cluster.clock.settle(sealed)).toEqual({ size: 600_000, md5: md5(expected) });
  expect(order).toEqual([1, 2, 3]);
});

test("writeDraft refuses what is sealed or dropped, and what a block cannot hold", async () => {
  const cluster = await started();
  const [one, two] = cluster.nodes;
  const write = (at: number): Promise<number> =>
    cluster.clock.settle(one!.data.writeDraft(place(), at, body(new Uint8Array(10))));
  await expect(write(blockBytesMax + 1)).rejects.toMatchObject({ code: "EntityTooLarge" });
  await expect(write(blockBytesMax - 9)).rejects.toMatchObject({ code: "EntityTooLarge" });
  await write(0);
  await cluster.clock.settle(two!.data.dropDraft(one!.id, BLOCK));
  await expect(write(0)).rejects.toMatchObject({ code: "NoSuchKey" });
  await expect(cluster.clock.settle(two!.data.sealDraft(one!.id, place()))).rejects.toMatchObject({
    code: "NoSuchKey",
  });
  expect(await one!.rows()).toEqual([]);
  const other = { ...place(), block: idOf(79) };
  await cluster.clock.settle(two!.data.sealDraft(one!.id, other));
  await expect(
    cluster.clock.settle(one!.data.writeDraft(other, 0, body(new Uint8Array(1)))),
  ).rejects.toThrow("it is sealed");
  await cluster.clock.settle(two!.data.dropDraft(one!.id, other.block));
  expect(await one!.blocks.stat(other.block)).toBeUndefined();
});

test("dropDraft in the middle of a body ends that write with NoSuchKey", async () => {
  const cluster = await started();
  const [node] = cluster.nodes;
  async function* endless(): AsyncIterable<Uint8Array> {
    for (;;) {
      yield new Uint8Array(1_000);
      await new Promise<void>((resolve) => cluster.clock.after(100, resolve));
    }
  }
  const writing = node!.data.writeDraft(place(), 0, endless());
  const outcome = expect(writing).rejects.toMatchObject({ code: "NoSuchKey" });
  await cluster.clock.runFor(1_000);
  await cluster.clock.settle(node!.data.dropDraft(node!.id, BLOCK));
  await cluster.clock.runFor(60_000);
  await outcome;
  expect(await node!.blocks.usage()).toMatchObject({ blocks: 0, usedBytes: 0 });
});

test("a draft is gone after a restart: it is never taken for its base", async () => {
  const cluster = await started();
  const [node, other] = cluster.nodes;
  const base = new Uint8Array([1, 2, 3]);
  await cluster.clock.settle(node!.data.writeDraft(place(base), 0, body(new Uint8Array([4]))));
  cluster.crash(node!);
  await cluster.restart(node!);
  await expect(
    cluster.clock.settle(other!.data.sealDraft(node!.id, place(base))),
  ).rejects.toMatchObject({ code: "NoSuchKey" });
  await expect(
    cluster.clock.settle(node!.data.writeDraft(place(base), 0, body(new Uint8Array([4])))),
  ).rejects.toMatchObject({ code: "NoSuchKey" });
  await cluster.clock.runFor(stagedLeaseMs + sweepMs + 1_000);
  expect(await node!.rows()).toEqual([]);
});

test("a sealed draft survives a restart, and goes when its owner disowns it", async () => {
  const cluster = await started();
  const [node, other] = cluster.nodes;
  await cluster.clock.settle(node!.data.writeDraft(place(), 0, body(new Uint8Array([4]))));
  const sealed = await cluster.clock.settle(node!.data.sealDraft(node!.id, place()));
  cluster.crash(node!);
  await cluster.restart(node!);
  expect(await cluster.clock.settle(other!.data.sealDraft(node!.id, place()))).toEqual(sealed);
  const asked: BlockId[] = [];
  cluster.disown = async (owner, block) => {
    expect(owner).toEqual(OWNER);
    asked.push(block);
    return "disowned";
  };
  await cluster.clock.runFor(stagedLeaseMs + sweepMs + 1_000);
  expect(asked).toEqual([BLOCK]);
  expect(await cluster.holders(BLOCK)).toEqual([]);
});

test("a draft that nobody writes to is dropped; one that is written to now and then is kept", async () => {
  const cluster = await started();
  const [node] = cluster.nodes;
  const write = (): Promise<number> =>
    cluster.clock.settle(node!.data.writeDraft(place(), 0, body(new Uint8Array(10))));
  for (let i = 0; i < 3; i++) {
    await write();
    await cluster.clock.runFor(draftIdleMs - 1_000);
  }
  await write();
  await cluster.clock.runFor(draftIdleMs + 1_000);
  await expect(write()).rejects.toMatchObject({ code: "NoSuchKey" });
});

test("a draft that is kept open longer than a lease is not swept", async () => {
  const cluster = await started();
  const [node] = cluster.nodes;
  cluster.disown = () => Promise.reject(new Error("a live draft's owner is not asked"));
  for (let at = 0; at * (draftIdleMs - 1_000) < stagedLeaseMs + 2 * sweepMs; at++) {
    await cluster.clock.settle(node!.data.writeDraft(place(), at, body(new Uint8Array([1]))));
    await cluster.clock.runFor(draftIdleMs - 1_000);
  }
  const sealed = await cluster.clock.settle(node!.data.sealDraft(node!.id, place()));
  // The lease begins anew with the seal.
  await cluster.clock.runFor(stagedLeaseMs - 1_000);
  expect(await cluster.clock.settle(node!.data.sealDraft(node!.id, place()))).toEqual(sealed);
});

test("writeDraft begins anew when the draft could not be made, and refuses too many drafts", async () => {
  const cluster = await started();
  const [node] = cluster.nodes;
  node!.faults.full = true;
  const write = (block: BlockId): Promise<number> =>
    cluster.clock.settle(
      node!.data.writeDraft({ ...place(), block }, 0, body(new Uint8Array([1]))),
    );
  await expect(write(BLOCK)).rejects.toMatchObject({ code: "DiskFull" });
  expect(await node!.rows()).toEqual([]);
  node!.faults.full = false;
  expect(await write(BLOCK)).toBe(1);
  for (let n = 1; n < draftsOpenMax; n++) await write(idOf(1_000 + n));
  await expect(write(idOf(5_000))).rejects.toMatchObject({ code: "SlowDown" });
  await cluster.clock.settle(node!.data.dropDraft(node!.id, BLOCK));
  expect(await write(idOf(5_000))).toBe(1);
});

test("sealDraft says Unavailable when the draft's node does not answer, and can be asked again", async () => {
  const cluster = await started();
  const [one, two] = cluster.nodes;
  await cluster.clock.settle(two!.data.writeDraft(place(), 0, body(new Uint8Array([1]))));
  two!.gate.pause();
  await expect(cluster.clock.settle(one!.data.sealDraft(two!.id, place()))).rejects.toMatchObject({
    code: "Unavailable",
  });
  two!.gate.resume();
  expect(await cluster.clock.settle(one!.data.sealDraft(two!.id, place()))).toMatchObject({
    size: 1,
  });
});
