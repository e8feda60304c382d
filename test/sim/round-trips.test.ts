// Counts cluster round trips by time: every message takes the same delay and disks take none, so an operation's
// virtual duration over twice the delay is its number of round trips.
import { expect, test } from "vitest";
import { Client } from "./client.ts";
import { History } from "./history.ts";
import { createTestBucket } from "./workload.ts";
import { World } from "./world.ts";
import { type BucketRef } from "../../shared/object-service.ts";
import { type Slice, sliceOfKey } from "../../shared/slices.ts";

const delayMs = 10;

interface Cluster {
  readonly world: World;
  readonly client: Client;
  readonly bucket: BucketRef;
  readonly slice: Slice;
  readonly leader: number;
  readonly members: readonly number[];
  /** Two keys of one slice: one that exists at start, and unused ones. */
  keyOf(n: number): string;
}

/** A quiet cluster of five whose slice of `keyOf(..)` has a leader. */
async function quietCluster(seed: number): Promise<Cluster> {
  const world = new World({ seed, nodes: 5, quality: { delayMs }, driftPpm: 0 });
  await world.start();
  const history = new History();
  const bucket = await world.clock.settle(createTestBucket(world));
  const slice = sliceOfKey(bucket.id, "key 0", bucket.shards, 4);
  const keys: string[] = [];
  for (let n = 0; keys.length < 12; n++)
    if (sliceOfKey(bucket.id, `key ${n}`, bucket.shards, 4) === slice) keys.push(`key ${n}`);
  const client = new Client("c", world, history, bucket);
  await world.clock.settle(client.put(keys[0]!, 100, { at: 0 }));
  await world.clock.runFor(10_000);
  const { leader, members } = world.node(0).index.view(slice);
  if (leader === undefined) throw new Error("Cannot count: the slice has no leader");
  return {
    world,
    client,
    bucket,
    slice,
    leader: world.numberOf(leader),
    members: members.map((id) => world.numberOf(id)),
    keyOf: (n) => keys[n]!,
  };
}

async function roundTrips(world: World, work: () => Promise<unknown>): Promise<number> {
  // Let background traffic of the operation before end, so that nothing is shared with it.
  await world.clock.runFor(500);
  const begunMs = world.clock.now;
  await world.clock.settle(work());
  return (world.clock.now - begunMs) / (2 * delayMs);
}

test("a small GET takes one round trip at every coordinator", async () => {
  for (const seed of [1, 2]) {
    const { world, client, keyOf } = await quietCluster(seed);
    for (let i = 0; i < world.size; i++) {
      const trips = await roundTrips(world, () => client.get(keyOf(0), { at: i }));
      expect(trips, `at node ${i}`).toBeCloseTo(1, 6);
    }
    const missing = await roundTrips(world, () => client.get(keyOf(11), { at: 0 }));
    expect(missing, "of a key that does not exist").toBeCloseTo(1, 6);
    expect(world.defects).toEqual([]);
  }
});

test("a small PUT takes one round trip at the leader and two elsewhere, new keys too", async () => {
  for (const seed of [1, 2]) {
    const { world, client, leader, keyOf } = await quietCluster(seed);
    for (let i = 0; i < world.size; i++) {
      const expected = i === leader ? 1 : 2;
      // The first request of a coordinator may have to learn who leads; the second must know it.
      await world.clock.settle(client.put(keyOf(0), 100, { at: i }));
      const old = await roundTrips(world, () => client.put(keyOf(0), 100, { at: i }));
      expect(old, `known key at node ${i}, leader ${leader}`).toBeCloseTo(expected, 6);
      const fresh = await roundTrips(world, () => client.put(keyOf(1 + i), 100, { at: i }));
      expect(fresh, `new key at node ${i}, leader ${leader}`).toBeCloseTo(expected, 6);
    }
    expect(world.defects).toEqual([]);
  }
});

test("a conditional PUT and a DELETE take as many round trips as a PUT", async () => {
  const { world, client, leader, keyOf } = await quietCluster(3);
  const other = (leader + 1) % world.size;
  for (const [at, expected] of [
    [leader, 1],
    [other, 2],
  ] as const) {
    const key = keyOf(at + 1);
    await world.clock.settle(client.put(keyOf(0), 100, { at }));
    const condition = { ifNoneMatch: "*" };
    const made = await roundTrips(world, () => client.put(key, 100, { at, condition }));
    expect(made, `conditional put at node ${at}`).toBeCloseTo(expected, 6);
    const gone = await roundTrips(world, () => client.delete(key, { at }));
    expect(gone, `delete at node ${at}`).toBeCloseTo(expected, 6);
  }
});

test("a page of a list takes one round trip", async () => {
  const { world, bucket } = await quietCluster(4);
  const request = { bucket, prefix: "", delimiter: "", after: undefined, afterPrefix: false };
  for (let i = 0; i < world.size; i++) {
    const trips = await roundTrips(world, () =>
      world.at(i, (object) => object.list({ ...request, limit: 100 })),
    );
    expect(trips, `at node ${i}`).toBeCloseTo(1, 6);
  }
});
