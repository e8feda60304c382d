import { expect, test } from "vitest";
import { type BlockId } from "../../../shared/ids.ts";
import { stagedLeaseMs, sweepMs } from "../../../shared/limits.ts";
import { type BlockRef } from "../../../shared/records.ts";
import { chunksOf, collect, DataCluster, type DataNode, OWNER, someBytes } from "./data-cluster.ts";

const BYTES = someBytes(700_000);

/** A block on three of four nodes, and the node without it. */
async function stored(): Promise<{
  cluster: DataCluster;
  block: BlockRef;
  writer: DataNode;
  free: DataNode;
}> {
  const cluster = new DataCluster(4);
  await cluster.start();
  const writer = cluster.nodes[0]!;
  const run = async (): Promise<BlockRef> => {
    const upload = await writer.data.upload(OWNER, {});
    for (const chunk of chunksOf(BYTES)) await upload.write(chunk);
    return (await upload.finish()).block;
  };
  const block = await cluster.clock.settle(run());
  expect(block.replicas).toHaveLength(3);
  const free = cluster.nodes.find(
    (node) => !block.replicas.some((replica) => replica.node === node.id),
  )!;
  return { cluster, block, writer, free };
}

const load = (node: DataNode, id: BlockId): Promise<Uint8Array> =>
  collect(node.blocks.read(id, 0, BYTES.length));

test("pull makes a durable, staged copy; one that is there already is success", async () => {
  const { cluster, block, writer, free } = await stored();
  await cluster.clock.settle(writer.data.pull(free.id, block, OWNER));
  expect(Buffer.compare(await load(free, block.id), BYTES)).toBe(0);
  expect(await free.rows()).toEqual([`d/${block.id}`]);
  await cluster.clock.settle(writer.data.pull(free.id, block, OWNER));
  await cluster.clock.settle(free.data.pull(free.id, block, OWNER));
  expect(
    cluster.nodes.flatMap((node) => node.served).filter((name) => name === "data.read"),
  ).toEqual(["data.read"]);
});

test("pull: two at once share the work", async () => {
  const { cluster, block, writer, free } = await stored();
  await cluster.clock.settle(
    Promise.all([
      writer.data.pull(free.id, block, OWNER),
      free.data.pull(free.id, block, OWNER),
      writer.data.pull(free.id, block, OWNER),
    ]),
  );
  expect(
    cluster.nodes.flatMap((node) => node.served).filter((name) => name === "data.read"),
  ).toHaveLength(1);
});

test("pull goes on from another replica at a bad piece, and leaves nothing when none is left", async () => {
  const { cluster, block, writer, free } = await stored();
  const holders = block.replicas.map(({ node }) => cluster.node(node));
  for (const holder of holders.slice(1)) holder.faults.corruptAtByte = 400_000;
  await cluster.clock.settle(writer.data.pull(free.id, block, OWNER));
  expect(Buffer.compare(await load(free, block.id), BYTES)).toBe(0);
  await cluster.clock.settle(
    free.data.discard({ ...block, replicas: [{ node: free.id, version: 1 }] }),
  );
  for (const holder of holders) holder.faults.corruptAtByte = 400_000;
  await expect(cluster.clock.settle(writer.data.pull(free.id, block, OWNER))).rejects.toMatchObject(
    { code: "Unavailable" },
  );
  expect(await free.rows()).toEqual([]);
  expect(await free.blocks.usage()).toMatchObject({ blocks: 0, usedBytes: 0 });
});

test("pull: DiskFull and an unreachable node are told; a pulled copy goes when its owner disowns it", async () => {
  const { cluster, block, writer, free } = await stored();
  free.faults.full = true;
  await expect(cluster.clock.settle(writer.data.pull(free.id, block, OWNER))).rejects.toMatchObject(
    { code: "DiskFull" },
  );
  free.faults.full = false;
  await cluster.clock.settle(writer.data.pull(free.id, block, OWNER));
  await cluster.clock.runFor(stagedLeaseMs + sweepMs + 1_000);
  expect(await cluster.holders(block.id)).toEqual([]);
  cluster.crash(free);
  await expect(cluster.clock.settle(writer.data.pull(free.id, block, OWNER))).rejects.toMatchObject(
    { code: "Unavailable" },
  );
});

test("read and pull use only replicas with the newest version", async () => {
  const { cluster, block, writer, free } = await stored();
  const [newest] = block.replicas;
  const replicas = [
    ...block.replicas.map(({ node }) => ({ node, version: node === newest!.node ? 5 : 4 })),
    { node: free.id, version: 0 },
  ];
  for (const node of cluster.nodes) node.served.length = 0;
  const ref = { ...block, replicas };
  for (const node of cluster.nodes) {
    const read = await cluster.clock.settle(collect(node.data.read(ref, 0, 300_000)));
    expect(Buffer.compare(read, BYTES.subarray(0, 300_000))).toBe(0);
  }
  for (const node of cluster.nodes)
    if (node.id !== newest!.node) expect(node.served).not.toContain("data.read");
  // Rather no answer than old bytes.
  cluster.node(newest!.node).faults.corruptAtByte = 0;
  const reader = cluster.nodes.find((node) => node.id !== newest!.node)!;
  await expect(
    cluster.clock.settle(collect(reader.data.read(ref, 0, 300_000))),
  ).rejects.toMatchObject({ code: "Unavailable" });
  await expect(cluster.clock.settle(writer.data.pull(free.id, ref, OWNER))).rejects.toMatchObject({
    code: "Unavailable",
  });
});

test("link gives the bytes a second id on the nodes that hold them, moves none, stages it", async () => {
  const { cluster, block, free } = await stored();
  for (const node of cluster.nodes) node.served.length = 0;
  const { block: linked } = await cluster.clock.settle(free.data.link(block, OWNER));
  expect(linked.id).not.toBe(block.id);
  expect(linked.size).toBe(block.size);
  expect(linked.replicas.map(({ node }) => node).toSorted()).toEqual(
    block.replicas.map(({ node }) => node).toSorted(),
  );
  expect(cluster.nodes.flatMap((node) => node.served)).toEqual([
    "data.link",
    "data.link",
    "data.link",
  ]);
  for (const { node } of linked.replicas) {
    expect(await cluster.node(node).blocks.usage()).toMatchObject({ usedBytes: BYTES.length });
    expect(await cluster.node(node).rows()).toContain(`d/${linked.id}`);
  }
  await cluster.clock.settle(free.data.delete([block]));
  const read = await cluster.clock.settle(collect(free.data.read(linked, 0, linked.size)));
  expect(Buffer.compare(read, BYTES)).toBe(0);
  await cluster.clock.runFor(stagedLeaseMs + sweepMs + 1_000);
  expect(await cluster.holders(linked.id)).toEqual([]);
});

test("link leaves out a node that cannot link, and old pointers", async () => {
  const { cluster, block, writer } = await stored();
  const refusing = cluster.node(block.replicas[2]!.node);
  refusing.faults.full = true;
  const { block: linked, late } = await cluster.clock.settle(writer.data.link(block, OWNER));
  expect(linked.replicas).toHaveLength(2);
  expect(linked.replicas.map(({ node }) => node)).not.toContain(refusing.id);
  expect(await cluster.clock.settle(late)).toEqual([]);
  expect(await refusing.rows()).toEqual([`d/${block.id}`]);
  const old = block.replicas.map((replica, i) => ({ ...replica, version: i === 0 ? 1 : 2 }));
  refusing.faults.full = false;
  const again = await cluster.clock.settle(writer.data.link({ ...block, replicas: old }, OWNER));
  expect(again.block.replicas.map(({ node }) => node)).not.toContain(block.replicas[0]!.node);
});

test("link throws Unavailable without a write quorum, and gives up what it made", async () => {
  const { cluster, block, writer } = await stored();
  for (const { node } of block.replicas.slice(1)) cluster.node(node).faults.full = true;
  await expect(cluster.clock.settle(writer.data.link(block, OWNER))).rejects.toMatchObject({
    code: "Unavailable",
  });
  await cluster.clock.runFor(1_000);
  for (const node of cluster.nodes)
    expect((await node.rows()).filter((row) => row !== `d/${block.id}`)).toEqual([]);
  for (const { node } of block.replicas)
    expect(await cluster.node(node).blocks.usage()).toMatchObject({ blocks: 1 });
});

test("link answers at the quorum and names a slow node late, or tells it to give up", async () => {
  const { cluster, block, writer } = await stored();
  const slow = block.replicas
    .map(({ node }) => cluster.node(node))
    .find((node) => node !== writer)!;
  slow.gate.pause();
  const first = await cluster.clock.settle(writer.data.link(block, OWNER));
  expect(first.block.replicas).toHaveLength(2);
  slow.gate.resume();
  expect((await cluster.clock.settle(first.late)).map(({ node }) => node)).toEqual([slow.id]);
  slow.gate.pause();
  const second = await cluster.clock.settle(writer.data.link(block, OWNER));
  expect(await cluster.clock.settle(second.late)).toEqual([]);
  slow.gate.resume();
  await cluster.clock.runFor(60_000);
  expect(await slow.blocks.stat(first.block.id)).toBeDefined();
});
