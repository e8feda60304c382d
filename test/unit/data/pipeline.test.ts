import { expect, test } from "vitest";
import { type BlockUpload } from "../../../node/data/types.ts";
import { RingstowError } from "../../../shared/errors.ts";
import { type BlockRef, type Pointer } from "../../../shared/records.ts";
import { chunksOf, collect, DataCluster, type DataNode, OWNER, someBytes } from "./data-cluster.ts";

const MiB = 1024 * 1024;

interface Finished {
  readonly block: BlockRef;
  readonly late: Promise<readonly Pointer[]>;
}

async function upload(
  cluster: DataCluster,
  node: DataNode,
  bytes: Uint8Array,
  during: (upload: BlockUpload, at: number) => void | Promise<void> = () => {},
): Promise<Finished> {
  const started = await node.data.upload(OWNER, {});
  let at = 0;
  for (const chunk of chunksOf(bytes)) {
    await during(started, at);
    await started.write(chunk);
    at += chunk.length;
  }
  return started.finish();
}

async function expectCopies(
  cluster: DataCluster,
  bytes: Uint8Array,
  block: BlockRef,
): Promise<void> {
  expect(block.size).toBe(bytes.length);
  for (const { node } of block.replicas) {
    const { blocks } = cluster.node(node);
    expect(Buffer.compare(await collect(blocks.read(block.id, 0, block.size)), bytes)).toBe(0);
  }
}

const nodesOf = (block: BlockRef): string[] => block.replicas.map(({ node }) => node).toSorted();

async function startCluster(
  size: number,
  options: ConstructorParameters<typeof DataCluster>[1] = {},
): Promise<DataCluster> {
  const cluster = new DataCluster(size, options);
  await cluster.start();
  return cluster;
}

async function failureOf(promise: Promise<unknown>): Promise<RingstowError> {
  const error = await promise.then(
    () => undefined,
    (failure: unknown) => failure,
  );
  expect(error).toBeInstanceOf(RingstowError);
  return error as RingstowError;
}

/** Nothing of any block on the given nodes. */
async function expectNothing(nodes: readonly DataNode[]): Promise<void> {
  for (const node of nodes) {
    expect(await node.rows(), `rows of ${node.address}`).toEqual([]);
    const usage = await node.blocks.usage();
    expect(usage, `files of ${node.address}`).toMatchObject({ blocks: 0, usedBytes: 0 });
    expect(usage.freeBytes, `temporary files of ${node.address}`).toBe(usage.totalBytes);
  }
}

for (const size of [3, 5]) {
  test(`upload makes 3 durable, equal copies on ${size} nodes, this node's first`, async () => {
    const cluster = await startCluster(size);
    const bytes = someBytes(3 * MiB + 17);
    const { block, late } = await cluster.clock.settle(upload(cluster, cluster.nodes[1]!, bytes));
    expect(block.replicas).toHaveLength(3);
    expect(nodesOf(block)).toContain(cluster.nodes[1]!.id);
    await expectCopies(cluster, bytes, block);
    expect(await cluster.clock.settle(late)).toEqual([]);
    expect(await cluster.holders(block.id)).toEqual(nodesOf(block));
    for (const { node } of block.replicas)
      expect(await cluster.node(node).rows()).toEqual([`d/${block.id}`]);
    expect(cluster.handlerFaults).toEqual([]);
  });
}

test("upload makes as many copies as are wanted by now, and waits for most of them", async () => {
  const cluster = await startCluster(5);
  const copiesOf = async (): Promise<number> => {
    const { block, late } = await cluster.clock.settle(
      upload(cluster, cluster.nodes[0]!, someBytes(100)),
    );
    return block.replicas.length + (await cluster.clock.settle(late)).length;
  };
  for (const copies of [3, 5, 1]) {
    cluster.copies = copies;
    expect(await copiesOf()).toBe(copies);
  }
  cluster.copies = 5;
  for (const node of cluster.nodes.slice(2)) node.state = "dead";
  const run = cluster.nodes[0]!.data.upload(OWNER, {});
  expect((await cluster.clock.settle(failureOf(run))).code).toBe("Unavailable");
  cluster.copies = 3;
  expect(await copiesOf()).toBe(2);
});

test("upload of an empty block and of a small one", async () => {
  const cluster = await startCluster(3);
  for (const size of [0, 1, 70_000]) {
    const bytes = someBytes(size);
    const { block } = await cluster.clock.settle(upload(cluster, cluster.nodes[0]!, bytes));
    expect(block.replicas).toHaveLength(3);
    await expectCopies(cluster, bytes, block);
  }
});

test("upload on one node makes its one copy durable", async () => {
  const cluster = await startCluster(1, { copies: 1 });
  const bytes = someBytes(MiB);
  const { block } = await cluster.clock.settle(upload(cluster, cluster.nodes[0]!, bytes));
  expect(nodesOf(block)).toEqual([cluster.nodes[0]!.id]);
});

test("upload takes distinct zones", async () => {
  const cluster = await startCluster(6, { zones: ["a", "a", "a", "b", "b", "c"] });
  for (let i = 0; i < 5; i++) {
    const { block } = await cluster.clock.settle(
      upload(cluster, cluster.nodes[0]!, someBytes(1000)),
    );
    const zones = block.replicas.map(({ node }) => cluster.node(node).zone);
    expect(zones.toSorted()).toEqual(["a", "b", "c"]);
  }
});

test("upload gathers small chunks and passes large ones before forwarding", async () => {
  const cluster = await startCluster(3);
  const bytes = someBytes(400_000);
  const run = async (): Promise<Finished> => {
    const started = await cluster.nodes[0]!.data.upload(OWNER, {});
    for (const chunk of chunksOf(bytes.subarray(0, 100_000), 900)) await started.write(chunk);
    await started.write(bytes.subarray(100_000));
    return started.finish();
  };
  const { block } = await cluster.clock.settle(run());
  await expectCopies(cluster, bytes, block);
  for (const node of cluster.nodes.slice(1))
    expect(node.chunkSizes).toEqual([100_000, 256 * 1024, 300_000 - 256 * 1024]);
});

for (const size of [3, 5]) {
  test(`a node that crashes mid-upload costs a copy or is replaced, on ${size} nodes`, async () => {
    const cluster = await startCluster(size);
    const bytes = someBytes(4 * MiB);
    const self = cluster.nodes[0]!;
    let crashed: DataNode | undefined;
    const run = upload(cluster, self, bytes, async (_, at) => {
      if (at < 2 * MiB || crashed) return;
      await cluster.clock.drain();
      crashed = cluster.nodes.find((node) => node !== self && node.chunkSizes.length > 0)!;
      cluster.crash(crashed);
    });
    const { block, late } = await cluster.clock.settle(run);
    expect(crashed).toBeDefined();
    expect(block.replicas.length).toBeGreaterThanOrEqual(2);
    expect(nodesOf(block)).not.toContain(crashed!.id);
    await expectCopies(cluster, bytes, block);
    const copies = [...nodesOf(block), ...(await cluster.clock.settle(late)).map((p) => p.node)];
    expect(copies).toHaveLength(Math.min(3, size - 1));
    expect(await cluster.holders(block.id)).toEqual(copies.toSorted());
  });
}

test("a node of the line that stops taking bytes is dropped, and its place is taken", async () => {
  for (const position of [0, 1]) {
    const cluster = await startCluster(5);
    const self = cluster.nodes[0]!;
    const bytes = someBytes(8 * MiB);
    let stopped: DataNode | undefined;
    let other: DataNode | undefined;
    const run = upload(cluster, self, bytes, async (_, at) => {
      if (at < MiB || stopped) return;
      await cluster.clock.drain();
      const line = cluster.nodes.filter((node) => node.served.includes("data.write"));
      // The last of the line has received the least.
      line.sort((a, b) => b.chunkSizes.length - a.chunkSizes.length);
      expect(line).toHaveLength(2);
      stopped = line[position]!;
      other = line[1 - position]!;
      stopped.gate.pause();
    });
    const { block, late } = await cluster.clock.settle(run);
    expect(cluster.clock.now).toBeGreaterThan(1_900);
    expect(cluster.clock.now).toBeLessThan(4_000);
    expect(nodesOf(block)).not.toContain(stopped!.id);
    // The node before the stopped one must not be taken for the stopped one.
    if (position === 1)
      expect(other!.served.filter((name) => name === "data.write")).toHaveLength(1);
    expect(cluster.observed.map(({ node }) => node)).not.toContain(other!.id);
    expect(block.replicas.length).toBeGreaterThanOrEqual(2);
    await expectCopies(cluster, bytes, block);
    const more = await cluster.clock.settle(late);
    expect(block.replicas.length + more.length).toBe(3);

    // What the stopped node had received goes when it wakes up.
    stopped!.gate.resume();
    await cluster.clock.runFor(10_000);
    expect(await cluster.holders(block.id)).not.toContain(stopped!.id);
    expect(await stopped!.rows()).toEqual([]);
    // And the next upload does not wait for it.
    const began = cluster.clock.now;
    await cluster.clock.settle(upload(cluster, self, bytes));
    expect(cluster.clock.now - began).toBeLessThan(500);
  }
});

test("a coordinator without room writes to three other nodes", async () => {
  const cluster = await startCluster(5);
  const self = cluster.nodes[2]!;
  self.faults.full = true;
  const bytes = someBytes(2 * MiB);
  const { block } = await cluster.clock.settle(upload(cluster, self, bytes));
  expect(block.replicas).toHaveLength(3);
  expect(nodesOf(block)).not.toContain(self.id);
  await expectCopies(cluster, bytes, block);
  await expectNothing([self]);
});

test("a coordinator that announced too little room is not tried", async () => {
  const cluster = await startCluster(4);
  const self = cluster.nodes[0]!;
  self.free = { capacityBytes: 1e12, freeBytes: 1e6 };
  const { block } = await cluster.clock.settle(upload(cluster, self, someBytes(100)));
  expect(nodesOf(block)).toEqual(cluster.nodes.slice(1).map((node) => node.id));
});

test("a coordinator without room sends again from a copy elsewhere", async () => {
  const cluster = await startCluster(5);
  const self = cluster.nodes[0]!;
  self.faults.full = true;
  for (const node of cluster.nodes.slice(1)) node.faults.failsAtByte = MiB;
  const bytes = someBytes(2 * MiB);
  const run = upload(cluster, self, bytes, async (_, at) => {
    if (at < MiB / 2) return;
    await cluster.clock.drain();
    // The first of the line gets through; the others fail, until they are asked again.
    const [first] = cluster.nodes
      .filter((node) => node.chunkSizes.length > 0)
      .toSorted((a, b) => b.chunkSizes.length - a.chunkSizes.length);
    if (first) first.faults.failsAtByte = undefined;
    for (const node of cluster.nodes) {
      if (node.chunkSizes.length === 0) node.faults.failsAtByte = undefined;
    }
  });
  const { block } = await cluster.clock.settle(run);
  expect(block.replicas.length).toBeGreaterThanOrEqual(2);
  expect(nodesOf(block)).not.toContain(self.id);
  await expectCopies(cluster, bytes, block);
});

test("a node whose disk is full still forwards, and another takes its copy", async () => {
  for (const size of [3, 5]) {
    const cluster = await startCluster(size);
    const full = cluster.nodes[1]!;
    full.faults.full = true;
    const bytes = someBytes(MiB);
    const { block, late } = await cluster.clock.settle(upload(cluster, cluster.nodes[0]!, bytes));
    const more = await cluster.clock.settle(late);
    expect(block.replicas.length + more.length).toBe(size === 3 ? 2 : 3);
    expect(nodesOf(block)).not.toContain(full.id);
    await expectCopies(cluster, bytes, block);
    await expectNothing([full]);
  }
});

test("an own disk that fails mid-upload does not stop the copies behind it", async () => {
  const cluster = await startCluster(3);
  const self = cluster.nodes[0]!;
  self.faults.failsAtByte = MiB;
  const bytes = someBytes(3 * MiB);
  const { block } = await cluster.clock.settle(upload(cluster, self, bytes));
  expect(nodesOf(block)).toEqual(cluster.nodes.slice(1).map((node) => node.id));
  await expectCopies(cluster, bytes, block);
  await expectNothing([self]);
});

test("finish throws Unavailable without a quorum, and leaves nothing on live nodes", async () => {
  const cluster = await startCluster(3);
  const bytes = someBytes(2 * MiB);
  const run = upload(cluster, cluster.nodes[0]!, bytes, (_, at) => {
    if (at !== MiB) return;
    cluster.crash(cluster.nodes[1]!);
    cluster.crash(cluster.nodes[2]!);
  });
  const error = await cluster.clock.settle(failureOf(run));
  expect(error.code).toBe("Unavailable");
  expect(cluster.clock.now).toBeLessThan(20_000);
  await cluster.clock.runFor(5_000);
  await expectNothing([cluster.nodes[0]!]);
});

test("finish throws Unavailable when all other disks are full, and leaves nothing", async () => {
  const cluster = await startCluster(5);
  for (const node of cluster.nodes.slice(1)) node.faults.full = true;
  const run = upload(cluster, cluster.nodes[0]!, someBytes(MiB));
  expect((await cluster.clock.settle(failureOf(run))).code).toBe("Unavailable");
  await expectNothing(cluster.nodes);
});

test("upload throws Unavailable at once when too few nodes are alive, dead ones counted", async () => {
  const cluster = await startCluster(3);
  cluster.nodes[1]!.state = "dead";
  cluster.nodes[2]!.state = "dead";
  const run = cluster.nodes[0]!.data.upload(OWNER, {});
  expect((await cluster.clock.settle(failureOf(run))).code).toBe("Unavailable");
  await expectNothing([cluster.nodes[0]!]);
  // Nodes that left for good need no copies.
  cluster.nodes[1]!.state = "left";
  cluster.nodes[2]!.state = "left";
  const { block } = await cluster.clock.settle(upload(cluster, cluster.nodes[0]!, someBytes(100)));
  expect(block.replicas).toHaveLength(1);
});

test("write throws Unavailable when the line breaks and this node has no copy", async () => {
  const cluster = await startCluster(4);
  const self = cluster.nodes[0]!;
  self.faults.full = true;
  const run = upload(cluster, self, someBytes(8 * MiB), async (_, at) => {
    if (at !== 2 * MiB) return;
    await cluster.clock.drain();
    const line = cluster.nodes.filter((node) => node.chunkSizes.length > 0);
    const first = line.toSorted((a, b) => b.chunkSizes.length - a.chunkSizes.length)[0]!;
    cluster.crash(first);
  });
  expect((await cluster.clock.settle(failureOf(run))).code).toBe("Unavailable");
});

test("a copy that takes longer than the grace comes late", async () => {
  const cluster = await startCluster(3);
  const slow = cluster.nodes[2]!;
  let release = (): void => {};
  slow.faults.sealHeld = new Promise((resolve) => {
    release = resolve;
  });
  const bytes = someBytes(MiB);
  const { block, late } = await cluster.clock.settle(upload(cluster, cluster.nodes[0]!, bytes));
  expect(nodesOf(block)).toEqual([cluster.nodes[0]!.id, cluster.nodes[1]!.id]);
  expect(cluster.clock.now).toBeLessThan(200);
  release();
  const more = await cluster.clock.settle(late);
  expect(more).toEqual([{ node: slow.id, version: 1 }]);
  await expectCopies(cluster, bytes, { ...block, replicas: [...more] });
});

test("a copy that is never reported is not named, and is given up once it is sealed", async () => {
  const cluster = await startCluster(3);
  const slow = cluster.nodes[2]!;
  let release = (): void => {};
  slow.faults.sealHeld = new Promise((resolve) => {
    release = resolve;
  });
  const { block, late } = await cluster.clock.settle(
    upload(cluster, cluster.nodes[0]!, someBytes(MiB)),
  );
  expect(await cluster.clock.settle(late)).toEqual([]);
  release();
  await cluster.clock.runFor(5_000);
  expect(await cluster.holders(block.id)).toEqual(nodesOf(block));
  expect(await slow.rows()).toEqual([]);
});

test("abort mid-upload leaves nothing anywhere", async () => {
  const cluster = await startCluster(3);
  const run = async (): Promise<void> => {
    const started = await cluster.nodes[0]!.data.upload(OWNER, {});
    for (const chunk of chunksOf(someBytes(2 * MiB))) await started.write(chunk);
    await started.abort();
    expect((await failureOf(started.write(new Uint8Array(1)))).code).toBe("Unavailable");
    expect((await failureOf(started.finish())).code).toBe("Unavailable");
  };
  await cluster.clock.settle(run());
  await cluster.clock.runFor(100);
  await expectNothing(cluster.nodes);
});

test("abort while finish waits leaves nothing, sealed copies neither", async () => {
  const cluster = await startCluster(3);
  cluster.nodes[1]!.faults.sealHeld = cluster.clock.sleep(300);
  cluster.nodes[2]!.faults.sealHeld = cluster.clock.sleep(400);
  const run = async (): Promise<void> => {
    const started = await cluster.nodes[0]!.data.upload(OWNER, {});
    await started.write(someBytes(1000));
    const finished = failureOf(started.finish());
    await cluster.clock.sleep(100);
    expect(await cluster.nodes[0]!.rows()).toHaveLength(1);
    await started.abort();
    expect((await finished).code).toBe("Unavailable");
  };
  await cluster.clock.settle(run());
  await cluster.clock.runFor(1_000);
  await expectNothing(cluster.nodes);
});

test("a coordinator that dies mid-upload leaves nothing on the others", async () => {
  const cluster = await startCluster(3);
  void upload(cluster, cluster.nodes[0]!, someBytes(4 * MiB), async (_, at) => {
    if (at === 2 * MiB) cluster.crash(cluster.nodes[0]!);
  });
  await cluster.clock.runFor(1_000);
  expect(cluster.nodes[1]!.chunkSizes.length).toBeGreaterThan(0);
  await expectNothing(cluster.nodes.slice(1));
});

test("stop gives up uploads under way", async () => {
  const cluster = await startCluster(3);
  const run = async (): Promise<void> => {
    const started = await cluster.nodes[0]!.data.upload(OWNER, {});
    for (const chunk of chunksOf(someBytes(MiB))) await started.write(chunk);
    await cluster.nodes[0]!.data.stop();
    expect((await failureOf(started.finish())).code).toBe("Unavailable");
  };
  await cluster.clock.settle(run());
  await cluster.clock.runFor(100);
  await expectNothing(cluster.nodes);
});

test("stop does not wait for late copies, and keeps what finish answered", async () => {
  const cluster = await startCluster(4);
  const self = cluster.nodes[0]!;
  for (const node of cluster.nodes.slice(2)) node.faults.sealHeld = new Promise(() => {});
  const run = async (): Promise<Finished> => {
    const uploading = await self.data.upload(OWNER, {
      avoid: new Set([cluster.nodes[3]!.id]),
    });
    await uploading.write(someBytes(MiB));
    const finished = await uploading.finish();
    await self.data.stop();
    expect(await finished.late).toEqual([]);
    return finished;
  };
  const { block } = await cluster.clock.settle(run());
  expect(cluster.clock.now).toBeLessThan(2_000);
  expect(await cluster.holders(block.id)).toEqual(nodesOf(block));
  expect(block.replicas).toHaveLength(2);
});

test("discard after finish takes late copies too, and abort after finish does nothing", async () => {
  const cluster = await startCluster(3);
  cluster.nodes[2]!.faults.sealHeld = cluster.clock.sleep(300);
  const run = async (): Promise<void> => {
    const uploading = await cluster.nodes[0]!.data.upload(OWNER, {});
    await uploading.write(someBytes(MiB));
    const { block } = await uploading.finish();
    await uploading.abort();
    expect(await cluster.holders(block.id)).toHaveLength(2);
    await cluster.nodes[0]!.data.discard(block);
  };
  await cluster.clock.settle(run());
  await cluster.clock.runFor(1_000);
  await expectNothing(cluster.nodes);
});

test("upload refuses more than pipelineWritesMax at once with SlowDown", async () => {
  const cluster = await startCluster(1, { copies: 1 });
  const run = async (): Promise<void> => {
    const uploads: BlockUpload[] = [];
    for (let i = 0; i < 256; i++) uploads.push(await cluster.nodes[0]!.data.upload(OWNER, {}));
    expect((await failureOf(cluster.nodes[0]!.data.upload(OWNER, {}))).code).toBe("SlowDown");
    for (const started of uploads) await started.abort();
    const again = await cluster.nodes[0]!.data.upload(OWNER, {});
    await again.abort();
  };
  await cluster.clock.settle(run());
});
