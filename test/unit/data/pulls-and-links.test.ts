import { expect, test } from "vitest";
import { type BlockId } from "../../../shared/ids.ts";
import { reportAgainMs, stagedLeaseMs, sweepMs } from "../../../shared/limits.ts";
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

test("pull makes a damaged copy anew, and keeps its good pieces until the new bytes are there", async () => {
  const { cluster, block, writer } = await stored();
  const holder = cluster.node(block.replicas[1]!.node);
  const others = block.replicas
    .map(({ node }) => cluster.node(node))
    .filter((one) => one !== holder);
  const file = holder.disk.blocks.get(block.id)!;
  file.data[300_000]! ^= 1;
  for (const other of others) other.faults.corruptAtByte = 400_000;
  await expect(
    cluster.clock.settle(writer.data.pull(holder.id, block, OWNER)),
  ).rejects.toMatchObject({ code: "Unavailable" });
  expect(await holder.blocks.stat(block.id)).toBeDefined();
  for (const other of others) other.faults.corruptAtByte = undefined;
  await cluster.clock.settle(writer.data.pull(holder.id, block, OWNER));
  expect(Buffer.compare(await load(holder, block.id), BYTES)).toBe(0);
  // A whole one is only looked at.
  for (const node of cluster.nodes) node.served.length = 0;
  await cluster.clock.settle(writer.data.pull(holder.id, block, OWNER));
  expect(cluster.nodes.flatMap(({ served }) => served)).not.toContain("data.read");
});

test("read tells of copies that are damaged or gone, once in a while, and not of nodes that are away", async () => {
  const { cluster, block, free } = await stored();
  const [first, second] = block.replicas.map(({ node }) => cluster.node(node));
  first!.faults.corruptAtByte = 100_000;
  await cluster.clock.settle(second!.blocks.delete(block.id));
  const read = async (): Promise<void> => {
    const bytes = collect(free.data.read(block, 0, BYTES.length, OWNER));
    expect(Buffer.compare(await cluster.clock.settle(bytes), BYTES)).toBe(0);
  };
  // Until both were chosen before the good one.
  for (let i = 0; i < 20; i++) await read();
  const told = cluster.reported.map(({ node }) => node).toSorted();
  expect(told).toEqual([first!.id, second!.id].toSorted());
  await cluster.clock.runFor(reportAgainMs);
  for (let i = 0; i < 20; i++) await read();
  expect(cluster.reported).toHaveLength(4);
  cluster.reported.length = 0;
  await cluster.clock.runFor(reportAgainMs);
  cluster.crash(second!);
  first!.faults.corruptAtByte = undefined;
  for (let i = 0; i < 10; i++) await read();
  expect(cluster.reported).toEqual([]);
});

test("release deletes a copy only when its register says that it was replaced", async () => {
  const { cluster, block, writer } = await stored();
  const node = cluster.node(block.replicas[1]!.node);
  const release = () => cluster.clock.settle(writer.data.release(node.id, block.id, OWNER));
  expect(await release()).toBe(false);
  expect(await cluster.holders(block.id)).toHaveLength(3);
  cluster.isFormer = async (at, id) => at === node && id === block.id;
  expect(await release()).toBe(true);
  expect(await cluster.holders(block.id)).not.toContain(node.id);
  expect(await node.rows()).toEqual([]);
  expect(await release()).toBe(true); // what is not there is gone
});

test("release and pull of one block keep out of each other's way", async () => {
  const { cluster, block, writer, free } = await stored();
  let answer = (_former: boolean): void => {};
  cluster.isFormer = () => new Promise((resolve) => (answer = resolve));
  const releasing = writer.data.release(free.id, block.id, OWNER);
  await cluster.clock.runFor(100);
  // While its register is asked, no copy may begin that the deletion would hit.
  await expect(cluster.clock.settle(writer.data.pull(free.id, block, OWNER))).rejects.toMatchObject(
    { code: "SlowDown" },
  );
  answer(true);
  expect(await cluster.clock.settle(releasing)).toBe(true);
  // And the other way round: a copy that is being made is not deleted.
  cluster.isFormer = async () => true;
  const pulling = free.data.pull(free.id, block, OWNER);
  expect(await cluster.clock.settle(free.data.release(free.id, block.id, OWNER))).toBe(false);
  await cluster.clock.settle(pulling);
  expect(await cluster.holders(block.id)).toContain(free.id);
});

test("place chooses a live node without a copy, and not the one that failed a moment ago", async () => {
  const cluster = new DataCluster(5);
  await cluster.start();
  const [one, two, three, four, five] = cluster.nodes as [DataNode, ...DataNode[]];
  const having = [one.id, two!.id, three!.id];
  const exclude = new Set(having);
  const places = () => new Set(Array.from({ length: 30 }, () => one.data.place(having, exclude)));
  expect(places()).toEqual(new Set([four!.id, five!.id]));
  four!.faults.full = true;
  const block = { id: "1".repeat(32) as BlockId, size: 0, replicas: [] };
  await expect(cluster.clock.settle(one.data.pull(four!.id, block, OWNER))).rejects.toMatchObject({
    code: "DiskFull",
  });
  expect(places()).toEqual(new Set([five!.id]));
  expect(one.data.place(having, new Set(cluster.nodes.map(({ id }) => id)))).toBeUndefined();
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
