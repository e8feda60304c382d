import * as fc from "fast-check";
import { expect, test } from "vitest";
import { callTimeoutMs } from "../../../shared/limits.ts";
import { type BlockRef } from "../../../shared/records.ts";
import { chunksOf, collect, DataCluster, type DataNode, OWNER, someBytes } from "./data-cluster.ts";

const KiB = 1024;
const bytes = someBytes(3 * 1024 * KiB + 5);

/** A block on the first three of the nodes. */
async function stored(size = 4): Promise<{ cluster: DataCluster; block: BlockRef }> {
  const cluster = new DataCluster(size);
  await cluster.start();
  for (const node of cluster.nodes.slice(3)) node.faults.full = true;
  const put = async (): Promise<BlockRef> => {
    const avoid = new Set(cluster.nodes.slice(3).map((node) => node.id));
    const upload = await cluster.nodes[0]!.data.upload(OWNER, { avoid });
    for (const chunk of chunksOf(bytes)) await upload.write(chunk);
    return (await upload.finish()).block;
  };
  const block = await cluster.clock.settle(put());
  expect(block.replicas).toHaveLength(3);
  for (const node of cluster.nodes) node.served.length = 0;
  return { cluster, block };
}

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const readers = (cluster: DataCluster): DataNode[] =>
  cluster.nodes.filter((node) => node.served.includes("data.read"));

test("read of a local replica asks nobody else", async () => {
  const { cluster, block } = await stored();
  const got = await cluster.clock.settle(
    collect(cluster.nodes[1]!.data.read(block, 0, block.size)),
  );
  expect(same(got, bytes)).toBe(true);
  expect(readers(cluster)).toEqual([]);
});

test("read gives exactly the range, from here and from a peer", async () => {
  const { cluster, block } = await stored();
  const ranges = [
    [0, 0],
    [0, 1],
    [block.size, block.size],
    [block.size - 1, block.size],
    [128 * KiB - 1, 128 * KiB + 1],
    [100_001, 1_000_003],
  ] as const;
  for (const reader of [cluster.nodes[0]!, cluster.nodes[3]!]) {
    for (const [from, to] of ranges) {
      const got = await cluster.clock.settle(collect(reader.data.read(block, from, to)));
      expect(same(got, bytes.subarray(from, to)), `${from}..${to}`).toBe(true);
    }
  }
  await expect(collect(cluster.nodes[0]!.data.read(block, 0, block.size + 1))).rejects.toThrow(
    "Assertion failed",
  );
});

test("read goes on from another replica at the same byte when a node crashes", async () => {
  const { cluster, block } = await stored();
  let crashed: DataNode | undefined;
  const read = async (): Promise<Uint8Array[]> => {
    const chunks: Uint8Array[] = [];
    let at = 0;
    for await (const chunk of cluster.nodes[3]!.data.read(block, 0, block.size)) {
      chunks.push(chunk.slice());
      at += chunk.length;
      if (at < 1024 * KiB || crashed) continue;
      [crashed] = readers(cluster);
      cluster.crash(crashed!);
    }
    return chunks;
  };
  const chunks = await cluster.clock.settle(read());
  expect(same(Buffer.concat(chunks), bytes)).toBe(true);
  expect(readers(cluster)).toHaveLength(2);
});

test("read leaves a damaged own replica at the damaged piece", async () => {
  const { cluster, block } = await stored();
  cluster.nodes[0]!.faults.corruptAtByte = 700_000;
  const got = await cluster.clock.settle(
    collect(cluster.nodes[0]!.data.read(block, 1000, block.size)),
  );
  expect(same(got, bytes.subarray(1000))).toBe(true);
  expect(readers(cluster)).toHaveLength(1);
});

test("read survives damage in the first piece, in the middle, and a short replica", async () => {
  const { cluster, block } = await stored();
  cluster.nodes[0]!.faults.corruptAtByte = 0;
  cluster.nodes[1]!.faults.endsAtByte = 1_500_000;
  const got = await cluster.clock.settle(
    collect(cluster.nodes[3]!.data.read(block, 0, block.size)),
  );
  expect(same(got, bytes)).toBe(true);
});

test("read throws Unavailable when every replica is damaged, with what came before", async () => {
  const { cluster, block } = await stored();
  for (const node of cluster.nodes) node.faults.corruptAtByte = 1_500_000;
  let got = 0;
  const read = async (): Promise<void> => {
    for await (const chunk of cluster.nodes[3]!.data.read(block, 0, block.size))
      got += chunk.length;
  };
  await expect(cluster.clock.settle(read())).rejects.toMatchObject({ code: "Unavailable" });
  expect(got).toBeGreaterThan(1_000_000);
  expect(got).toBeLessThanOrEqual(1_500_000);
  expect(cluster.nodes.map((node) => node.serving)).toEqual([0, 0, 0, 0]);
});

test("read throws Unavailable when no replica can be reached, in bounded time", async () => {
  const { cluster, block } = await stored();
  for (const node of cluster.nodes.slice(0, 3)) node.gate.pause();
  const began = cluster.clock.now;
  const read = collect(cluster.nodes[3]!.data.read(block, 0, block.size));
  await expect(cluster.clock.settle(read)).rejects.toMatchObject({ code: "Unavailable" });
  expect(cluster.clock.now - began).toBeLessThan(10_000);
  const unheard = new Set(cluster.observed.filter((o) => !o.reachable).map((o) => o.node));
  expect(unheard.size).toBe(3);
});

test("read asks a second replica after the hedge delay, and closes the slow one", async () => {
  for (let seed = 0; seed < 4; seed++) {
    const { cluster, block } = await stored();
    const slow = cluster.nodes[seed % 3]!;
    slow.gate.pause();
    const began = cluster.clock.now;
    const got = await cluster.clock.settle(
      collect(cluster.nodes[3]!.data.read(block, 0, block.size)),
    );
    expect(same(got, bytes)).toBe(true);
    // At worst the paused node was asked first: 20 ms more than the few round trips.
    expect(cluster.clock.now - began).toBeLessThan(60);
    slow.gate.resume();
    await cluster.clock.runFor(50);
    expect(cluster.nodes.map((node) => node.serving)).toEqual([0, 0, 0, 0]);
  }
});

test("read asks the third replica when two are silent", async () => {
  for (let answers = 0; answers < 3; answers++) {
    const { cluster, block } = await stored();
    for (let i = 0; i < 3; i++) if (i !== answers) cluster.nodes[i]!.gate.pause();
    const began = cluster.clock.now;
    const got = await cluster.clock.settle(
      collect(cluster.nodes[3]!.data.read(block, 0, block.size)),
    );
    expect(same(got, bytes)).toBe(true);
    // At worst it comes last: the hedge delay of 20 ms and 300 ms more than the few round trips.
    expect(cluster.clock.now - began).toBeLessThan(callTimeoutMs + 60);
  }
});

test("read waits for the p95 of the last minute before it hedges", async () => {
  const delays = new Map<string, number>();
  const cluster = new DataCluster(4, { policy: (from) => [delays.get(from) ?? 1] });
  await cluster.start();
  const put = async (): Promise<BlockRef> => {
    const avoid = new Set([cluster.nodes[3]!.id]);
    const upload = await cluster.nodes[0]!.data.upload(OWNER, { avoid });
    await upload.write(someBytes(1000));
    return (await upload.finish()).block;
  };
  const block = await cluster.clock.settle(put());
  const reader = cluster.nodes[3]!;
  const read = (): Promise<Uint8Array> =>
    cluster.clock.settle(collect(reader.data.read(block, 0, 1000)));
  for (const node of cluster.nodes) delays.set(node.address, 40);
  for (const node of cluster.nodes) node.served.length = 0;
  await read();
  const asked = cluster.nodes.flatMap((node) => node.served).length;
  expect(asked).toBe(2); // 20 ms are over before the first can answer
  await read();
  expect(cluster.nodes.flatMap((node) => node.served).length).toBe(asked + 1);
});

test("read leaves a replica that stops sending in the middle", async () => {
  const { cluster, block } = await stored();
  let stopped: DataNode | undefined;
  const began = cluster.clock.now;
  const read = async (): Promise<Uint8Array> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of cluster.nodes[3]!.data.read(block, 0, block.size)) {
      chunks.push(chunk.slice());
      if (stopped) continue;
      [stopped] = readers(cluster);
      stopped!.gate.pause();
    }
    return Buffer.concat(chunks);
  };
  expect(same(await cluster.clock.settle(read()), bytes)).toBe(true);
  const took = cluster.clock.now - began;
  expect(took).toBeGreaterThan(1_900);
  expect(took).toBeLessThan(3_000);
});

test("read keeps a replica while its consumer is slow", async () => {
  const { cluster, block } = await stored();
  const read = async (): Promise<Uint8Array> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of cluster.nodes[3]!.data.read(block, 0, block.size)) {
      chunks.push(chunk.slice());
      await cluster.clock.sleep(5_000);
    }
    return Buffer.concat(chunks);
  };
  expect(same(await cluster.clock.settle(read()), bytes)).toBe(true);
  expect(readers(cluster)).toHaveLength(1);
});

test("read releases its stream when the consumer stops early", async () => {
  const { cluster, block } = await stored();
  const read = async (): Promise<void> => {
    for await (const chunk of cluster.nodes[3]!.data.read(block, 0, block.size)) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
  };
  await cluster.clock.settle(read());
  await cluster.clock.runFor(10);
  expect(readers(cluster)).toHaveLength(1);
  expect(cluster.nodes.map((node) => node.serving)).toEqual([0, 0, 0, 0]);
});

test("read of a block whose nodes have lost it throws Unavailable", async () => {
  const { cluster, block } = await stored();
  await cluster.clock.settle(cluster.nodes[0]!.data.delete([block]));
  const read = collect(cluster.nodes[0]!.data.read(block, 0, block.size));
  await expect(cluster.clock.settle(read)).rejects.toMatchObject({ code: "Unavailable" });
});

test("read gives the right bytes whatever two of three replicas do", async () => {
  const { cluster, block } = await stored();
  const fault = fc.record({
    node: fc.integer({ min: 0, max: 2 }),
    corruptAtByte: fc.option(fc.integer({ min: 0, max: block.size }), { nil: undefined }),
    endsAtByte: fc.option(fc.integer({ min: 0, max: block.size }), { nil: undefined }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fault, { maxLength: 2 }),
      fc.integer({ min: 0, max: 3 }),
      fc.tuple(fc.integer({ min: 0, max: block.size }), fc.integer({ min: 0, max: block.size })),
      async (faults, reader, ends) => {
        const [from, to] = [Math.min(...ends), Math.max(...ends)];
        for (const node of cluster.nodes)
          Object.assign(node.faults, { corruptAtByte: undefined, endsAtByte: undefined });
        for (const { node, ...what } of faults) Object.assign(cluster.nodes[node]!.faults, what);
        const read = collect(cluster.nodes[reader]!.data.read(block, from, to));
        expect(same(await cluster.clock.settle(read), bytes.subarray(from, to))).toBe(true);
      },
    ),
    { numRuns: 40, seed: 5 },
  );
});
