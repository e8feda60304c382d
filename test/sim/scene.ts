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
      if (this.leads(i)) return i;
    }
    throw new Error("Cannot find the leader: no node leads the slice");
  }

  /** Epoch and voters of the key's slice as node `i` knows them. */
  view(i: number): { readonly epoch: number; readonly members: readonly number[] } {
    const { epoch, members } = this.world.node(i).index.view(this.slice);
    return { epoch, members: members.map((id) => this.world.numberOf(id)) };
  }

  /** Nodes that vote in the key's slice, by what they have on disk, with the epoch. */
  async voting(): Promise<Map<number, number>> {
    const found = new Map<number, number>();
    for (const i of this.world.up()) {
      const digests = await this.world.clock.settle(this.world.node(i).index.digests());
      if (digests.has(this.slice)) found.set(i, this.view(i).epoch);
    }
    return found;
  }

  /**
   * Makes these the voters of the key's slice. Runs until all of them are, in the newest view, with a leader among
   * them; who is cut off may believe in an older one.
   */
  async changeView(members: readonly number[]): Promise<void> {
    this.world.wantView(this.slice, members);
    let voting = new Map<number, number>();
    for (let tries = 0; tries < 300; tries++) {
      await this.world.clock.runFor(100);
      voting = await this.voting();
      const newest = Math.max(...voting.values());
      const voters = [...voting.keys()].filter((i) => voting.get(i) === newest);
      const isWanted = voters.length === members.length && members.every((i) => voters.includes(i));
      if (isWanted && members.some((i) => this.leads(i))) return;
    }
    const found = [...voting].map(([i, epoch]) => `${i} in epoch ${epoch}`).join(", ");
    throw new Error(`Cannot change the view to [${members.join()}]: voting are ${found}`);
  }

  /** Whether node `i` leads the key's slice in its own eyes. */
  leads(i: number): boolean {
    return this.world.node(i).index.view(this.slice).leader === this.world.id(i);
  }

  /** The other nodes. */
  others(i: number): number[] {
    return this.world.machines.flatMap((_, other) => (other === i ? [] : [other]));
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
    const { defects, views } = this.world;
    return [...defects, ...views.problems(), ...this.history.violations()];
  }
}

/** A small put at one node that must be acknowledged. Gives its ETag. */
export async function putOk(scene: Scene, client: Client, at: number, key = KEY): Promise<string> {
  const { value, outcome, reason } = await scene.run(client.put(key, 50, { at }));
  if (outcome !== "ok") throw new Error(`Cannot put "${key}" at node ${at}: ${outcome} ${reason}`);
  return value;
}

/** A quiet cluster whose key has a value: who leads its slice, and the other nodes. */
export async function openWithLeader(options: Partial<WorldOptions> = {}) {
  const scene = await Scene.open(options);
  const client = scene.client("c");
  const value = await putOk(scene, client, 0);
  const leader = await scene.leader();
  return { scene, world: scene.world, client, value, leader, others: scene.others(leader) };
}

/** Keys that share the slice of the key that the scene is about. */
export function keysOfSlice({ bucket, slice, world }: Scene, count: number): string[] {
  const keys: string[] = [];
  for (let n = 0; keys.length < count; n++) {
    const key = `n${n}`;
    if (sliceOfKey(bucket.id, key, bucket.shards, world.genesis.sliceBits) === slice)
      keys.push(key);
  }
  return keys;
}
