// Repair of blocks on whole nodes: what was lost comes back by itself, whoever dies meanwhile, and reads go on.
import { expect, test } from "vitest";
import { makeBody, readAll, streamOf } from "./bodies.ts";
import { Faults } from "./faults.ts";
import { Scene } from "./scene.ts";
import { type WorldOptions } from "./world.ts";
import { type RingstowNode } from "../../node/compose.ts";
import { blocksIn, type RegisterAddress } from "../../node/index/types.ts";
import { objectAddress, partRange } from "../../node/object/addresses.ts";
import { type BlockId, parseRequestId, type UploadId } from "../../shared/ids.ts";
import {
  checkerMs,
  inlineBytesMax,
  repairAfterDefaultMs,
  repairRetryMs,
  repairThinMs,
} from "../../shared/limits.ts";
import { type BlockRef } from "../../shared/records.ts";

let requests = 0;
const fresh = () => parseRequestId((++requests).toString(16).padStart(32, "0"));

/** From the death of a node to the last new copy: SWIM's suspicion, the wait, and two looks. */
const boundMs = repairAfterDefaultMs + 10_000 + 2 * repairRetryMs;

/** A cluster with objects of one block each, and one upload of two parts under way. */
class Stored {
  readonly scene: Scene;
  readonly sizes = new Map<string, number>();
  /** Keys whose last write has an unknown outcome. */
  readonly unsure = new Set<string>();
  uploadId: UploadId | undefined;

  private constructor(scene: Scene) {
    this.scene = scene;
  }

  static async open(objects: number, options: Partial<WorldOptions> = {}): Promise<Stored> {
    const stored = new Stored(await Scene.open({ nodes: 5, ...options }));
    await stored.scene.world.clock.runFor(5_000);
    for (let i = 0; i < objects; i++)
      await stored.put(`object ${i}`, inlineBytesMax + 1 + i, i % 5);
    return stored;
  }

  get world() {
    return this.scene.world;
  }

  node(i: number): RingstowNode {
    return this.world.node(i) as RingstowNode;
  }

  async put(key: string, size: number, at: number): Promise<void> {
    const { bytes } = makeBody(key, size);
    const body = { length: size, encoding: "plain" } as const;
    const described = { headers: {}, metadata: {}, precondition: {}, requestId: fresh() };
    const request = { bucket: this.scene.bucket, key, body, ...described };
    await this.scene.run(this.node(at).object.put(request, streamOf(bytes)));
    this.sizes.set(key, size);
  }

  async sendParts(key: string): Promise<void> {
    const { object } = this.node(this.world.up()[0]!);
    const on = { bucket: this.scene.bucket, key };
    const described = { headers: {}, metadata: {} };
    const upload = await this.scene.run(
      object.createUpload({ ...on, ...described, requestId: fresh() }),
    );
    this.uploadId = upload.id;
    for (const partNumber of [1, 2]) {
      const { bytes } = makeBody(`part ${partNumber}`, inlineBytesMax + 9);
      const body = { length: bytes.length, encoding: "plain" } as const;
      const part = { ...on, uploadId: upload.id, partNumber, body, requestId: fresh() };
      await this.scene.run(object.putPart(part, streamOf(bytes)));
    }
  }

  at(key: string): RegisterAddress {
    return objectAddress(this.scene.bucket, key, this.world.genesis.sliceBits);
  }

  /** Blocks of all objects whose slices can be read, and of the parts. */
  async blocks(): Promise<BlockRef[]> {
    const { index } = this.node(this.world.up()[0]!);
    const all: BlockRef[] = [];
    for (const key of this.readable()) {
      const { value } = await this.scene.run(index.read(this.at(key), { body: false }));
      if (value) all.push(...blocksIn(value));
    }
    if (this.uploadId !== undefined && this.isReadable("upload")) {
      const object = this.at("upload");
      const range = { ...partRange(object, this.uploadId), slice: object.slice, limit: 10 };
      const [page] = await this.scene.run(index.scan([range]));
      for (const { value } of page!.rows) all.push(...blocksIn(value));
    }
    return all;
  }

  /** Ids of blocks on any disk. */
  blocksAnywhere(): BlockId[] {
    return [...new Set(this.world.genesis.nodes.flatMap((_, i) => this.world.blocksOf(i)))];
  }

  /** Nodes, up or down, whose disks have a block whole. */
  wholeAt(block: BlockId): number[] {
    return this.world.genesis.nodes.flatMap((_, i) => (this.world.hasBlock(i, block) ? [i] : []));
  }

  /** Keys whose slice keeps a majority of its view: views do not change here, only blocks move. */
  readable(): string[] {
    return [...this.sizes.keys()].filter((key) => this.isReadable(key));
  }

  isReadable(key: string): boolean {
    const up = new Set(this.world.up().map((i) => this.world.id(i)));
    const { members } = this.node(this.world.up()[0]!).index.view(this.at(key).slice);
    return members.filter((node) => up.has(node)).length > members.length / 2;
  }

  /** Live nodes that are named for a block and have it whole. */
  copies({ id, replicas }: BlockRef): number[] {
    const newest = Math.max(...replicas.map(({ version }) => version));
    return replicas
      .filter(({ version }) => version === newest)
      .map(({ node }) => this.world.numberOf(node))
      .filter((i) => this.world.isUp(i) && this.world.hasBlock(i, id));
  }

  /** How many blocks have so many good copies. */
  async spread(): Promise<Record<number, number>> {
    const counts: Record<number, number> = {};
    for (const block of await this.blocks()) {
      const copies = this.copies(block).length;
      counts[copies] = (counts[copies] ?? 0) + 1;
    }
    return counts;
  }

  async readAll(at: number, keys: readonly string[] = this.readable()): Promise<void> {
    for (const key of keys) {
      const request = { bucket: this.scene.bucket, key, conditions: {}, headOnly: false };
      const found = await this.scene.run(this.node(at).object.get(request));
      if (found.type !== "object") throw new Error(`Cannot read "${key}": ${found.type}`);
      const bytes = await this.scene.run(readAll(found.body));
      const { bytes: wanted } = makeBody(key, this.sizes.get(key)!);
      if (this.unsure.has(key)) continue;
      expect(Buffer.compare(bytes, wanted), key).toBe(0);
    }
  }
}

test("a node that died for good: all its copies are made anew in time, uploads' parts too", async () => {
  const stored = await Stored.open(20);
  const { world } = stored;
  await stored.sendParts("upload");
  await world.clock.runFor(5_000);
  const total = (await stored.blocks()).length;
  expect(await stored.spread()).toEqual({ 3: total });
  const dead = world.up().find((i) => i !== 0)!;
  world.crash(dead);
  const atDeath = await stored.spread();
  expect(atDeath[2]).toBeGreaterThan(3);
  await world.clock.runFor(repairAfterDefaultMs - 5_000);
  expect(await stored.spread()).toEqual(atDeath); // a restart takes less: nothing moves yet
  await stored.readAll(0);
  await world.clock.runFor(boundMs - repairAfterDefaultMs + 5_000);
  expect(await stored.spread()).toEqual({ 3: total });
  // And one more.
  const second = world.up().find((i) => i !== 0)!;
  world.crash(second);
  await world.clock.runFor(10_000);
  expect(stored.readable().length).toBeGreaterThan(5);
  for (const i of world.up()) await stored.readAll(i);
  await world.clock.runFor(boundMs);
  // Three nodes are left, of which each holds everything now.
  expect(Object.keys(await stored.spread())).toEqual(["3"]);
  expect(stored.scene.problems()).toEqual([]);
});

test("a node that comes back after it was replaced loses its copies, and no others", async () => {
  const stored = await Stored.open(12);
  const { world } = stored;
  const total = (await stored.blocks()).length;
  const dead = world.up().find((i) => i !== 0)!;
  const before = (await stored.blocks()).filter(({ id }) => world.hasBlock(dead, id));
  expect(before.length).toBeGreaterThan(2);
  world.crash(dead);
  await world.clock.runFor(boundMs);
  await world.restart(dead);
  await world.clock.runFor(checkerMs + 3 * repairRetryMs);
  const blocks = await stored.blocks();
  expect(await stored.spread()).toEqual({ 3: total });
  expect(blocks.filter(({ former }) => former !== undefined)).toEqual([]);
  for (const block of blocks) {
    const holders = world.up().filter((i) => world.hasBlock(i, block.id));
    expect(new Set(holders)).toEqual(new Set(stored.copies(block)));
  }
  await stored.readAll(dead);
  expect(stored.scene.problems()).toEqual([]);
});

test("leaders that die in the middle of repairs leave the work to the next ones", async () => {
  for (const seed of [1, 2, 3]) {
    const stored = await Stored.open(16, { seed });
    const { world } = stored;
    const total = (await stored.blocks()).length;
    world.crash(4);
    let pulls = 0;
    world.conditions.rules.push((_from, _to, kind, name) => {
      if (kind === "request" && name === "data.pull") pulls++;
      return undefined;
    });
    const sawPull = (): boolean => pulls > 2;
    await world.clock.run(sawPull, { deadlineMs: world.clock.now + boundMs });
    // Copies are being made, and some are made and not named: whoever leads goes away and comes back.
    for (const i of [0, 1, 2, 3]) world.crash(i);
    await world.clock.runFor(3_000);
    for (const i of [0, 1, 2, 3]) await world.clock.settle(world.restart(i));
    await world.clock.runFor(2 * boundMs + checkerMs);
    expect(await stored.spread()).toEqual({ 3: total });
    await stored.readAll(1);
    expect(stored.scene.problems()).toEqual([]);
  }
});

test("a corrupt copy that a read finds is made whole where it is", async () => {
  const stored = await Stored.open(6);
  const { world } = stored;
  const keys = [...stored.sizes.keys()];
  const blocks = await stored.blocks();
  const rotten = blocks.map((block) => [block, stored.copies(block)[0]!] as const);
  for (const [block, i] of rotten) expect(world.rot(i, block.id)).toBe(true);
  // Each is read at the node whose copy is bad: the reader is switched to another one.
  for (const [n, [, i]] of rotten.entries()) await stored.readAll(i, [keys[n]!]);
  await world.clock.runFor(3 * repairRetryMs);
  for (const [block, i] of rotten) expect(world.hasBlock(i, block.id)).toBe(true);
  // The pointers are as they were.
  expect((await stored.blocks()).map(({ replicas }) => replicas)).toEqual(
    blocks.map(({ replicas }) => replicas),
  );
  expect(stored.scene.problems()).toEqual([]);
});

test("a write whose last copy never came gets one", async () => {
  const stored = await Stored.open(0);
  const { world } = stored;
  const late = world.address(3);
  world.conditions.rules.push((_from, to, kind, name) =>
    to === late && name.startsWith("data.") && kind !== "reply" ? [] : undefined,
  );
  for (let i = 0; i < 8; i++) await stored.put(`object ${i}`, 2 * inlineBytesMax, i % 3);
  world.conditions.rules.length = 0;
  await world.clock.runFor(checkerMs + repairThinMs + 2 * repairRetryMs);
  expect(await stored.spread()).toEqual({ 3: 8 });
});

test("an idle cluster that is whole walks and asks nothing for repairs", async () => {
  const stored = await Stored.open(10);
  const { world } = stored;
  await world.clock.runFor(2 * checkerMs);
  const calls = {
    pull: world.trace.count("data.pull"),
    execute: world.trace.count("index.execute"),
  };
  await world.clock.runFor(10 * checkerMs);
  expect(world.trace.count("data.pull")).toBe(calls.pull);
  expect(world.trace.count("index.execute")).toBe(calls.execute);
});

for (const seed of [1, 2, 3, 4]) {
  test(`whatever breaks, every block has its three copies in the end, seed ${seed}`, async () => {
    const stored = await Stored.open(10, { seed, syncMs: 1 });
    const { world } = stored;
    const chance = world.chance.fork("repair");
    const faults = new Faults(world, {
      kinds: ["crash", "restart", "pause", "isolate", "cut one link", "slow node", "slow disk"],
      without: [],
      everyMs: 20_000,
      // Some are away for longer than the repair waits.
      lastMs: 2 * repairAfterDefaultMs,
      downMax: 1,
    });
    Object.assign(world.conditions.quality, { loss: 0.005, duplication: 0.01, jitterMs: 3 });
    faults.begin();
    for (let round = 0; round < 12; round++) {
      await world.clock.runFor(30_000);
      const up = world.up();
      // Bit rot, and objects that are written anew and deleted meanwhile.
      for (const block of stored.blocksAnywhere().filter(() => chance.happens(0.1)))
        if (stored.wholeAt(block).length > 2) world.rot(chance.pick(stored.wholeAt(block)), block);
      const key = `object ${chance.below(10)}`;
      const size = inlineBytesMax + 1 + chance.below(100_000);
      await stored.put(key, size, chance.pick(up)).catch(() => stored.unsure.add(key));
      await stored.readAll(chance.pick(up), [key]).catch(() => {});
    }
    faults.end();
    await world.heal();
    await world.clock.runFor(checkerMs + boundMs);
    // What rotted and nobody read is found now; then it is mended.
    for (const i of world.up()) await stored.readAll(i);
    await world.clock.runFor(checkerMs + 3 * repairRetryMs);
    const blocks = await stored.blocks();
    expect(blocks.flatMap(({ former = [] }) => former)).toEqual([]);
    for (const { replicas } of blocks) expect(replicas).toHaveLength(3);
    expect(Object.keys(await stored.spread())).toEqual(["3"]);
    expect(stored.scene.problems()).toEqual([]);
  });
}
