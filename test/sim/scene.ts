// The start of a directed scenario: a quiet cluster with one bucket, one key with one value, and its slice's leader.
import { Client, type ClientOptions } from "./client.ts";
import { History } from "./history.ts";
import { createTestBucket } from "./workload.ts";
import { World, type WorldOptions } from "./world.ts";
import { type BucketRef } from "../../shared/object-service.ts";
import { type Slice, sliceOfKey } from "../../shared/slices.ts";

export const KEY = "the key";
/** Clients of a scenario try once, where they are told to. */
const ONCE: ClientOptions = { attempts: 1, attemptMs: 30_000 };

export class Scene {
  readonly world: World;
  readonly history = new History();
  readonly bucket: BucketRef;
  readonly slice: Slice;

  private constructor(world: World, bucket: BucketRef) {
    this.world = world;
    this.bucket = bucket;
    this.slice = sliceOfKey(bucket.id, KEY, bucket.shards, world.genesis.sliceBits);
  }

  /** Three nodes that all hold every slice, unless told otherwise. */
  static async open(options: Partial<WorldOptions> = {}): Promise<Scene> {
    const world = new World({ seed: 1, nodes: 3, ...options });
    await world.start();
    const bucket = await world.clock.settle(createTestBucket(world));
    return new Scene(world, bucket);
  }

  client(name: string): Client {
    return new Client(name, this.world, this.history, this.bucket, ONCE);
  }

  /** Runs until the work has ended. */
  run<T>(work: Promise<T>): Promise<T> {
    return this.world.clock.settle(work, { deadlineMs: this.world.clock.now + 120_000 });
  }

  /** The node that leads the key's slice in its own eyes, after some quiet time. */
  async leader(): Promise<number> {
    await this.world.clock.runFor(5_000);
    for (const i of this.world.up()) {
      const { leader } = this.world.node(i).index.view(this.slice);
      if (leader === this.world.id(i)) return i;
    }
    throw new Error("Cannot find the leader: no node leads the slice");
  }

  /** The other nodes. */
  others(i: number): number[] {
    return this.world.genesis.nodes.flatMap((_, other) => (other === i ? [] : [other]));
  }

  /** Cuts a node from all others. */
  isolate(i: number): void {
    this.world.conditions.cut([this.world.address(i)], this.world.addresses(this.others(i)));
  }

  /** What every node that is up answers for a key, in node order; "no answer" where none came. */
  async readEverywhere(key = KEY): Promise<(string | undefined)[]> {
    const client = this.client("reader");
    const values: (string | undefined)[] = [];
    for (const i of this.world.up()) {
      const read = await this.run(client.get(key, { at: i }));
      values.push(read ? read.value : "no answer");
    }
    return values;
  }

  /** Everything that broke a promise. */
  problems(): string[] {
    return [...this.world.defects, ...this.history.violations()];
  }
}
