// Concurrent clients that put, get, delete, write conditionally and list a few keys, so that they meet often.
import { Client } from "./client.ts";
import { type History } from "./history.ts";
import { type SeededChance } from "./seeded-chance.ts";
import { type World } from "./world.ts";
import { RingstowError } from "../../shared/errors.ts";
import { parseRequestId, toHex } from "../../shared/ids.ts";
import { type BucketRef } from "../../shared/object-service.ts";
import { inlineBytesMax } from "../../shared/limits.ts";

export interface WorkloadOptions {
  readonly clients: number;
  readonly operations: number;
  readonly keys: number;
  /** Keys beside them that are only appended to: each value names the one before. */
  readonly logs: number;
  /** Share of reads among all operations. */
  readonly reads: number;
  /** Share of bodies that do not fit beside their register. */
  readonly large: number;
  /** Longest pause of a client between two operations. */
  readonly thinkMs: number;
  /** Virtual time after which no client begins another operation. */
  readonly untilMs: number;
}

export class Workload {
  /** All keys. */
  readonly keys: readonly string[];
  /** Keys that are not only appended to. */
  readonly plainKeys: readonly string[];
  readonly #logs: ReadonlySet<string>;
  readonly #world: World;
  readonly #history: History;
  readonly #bucket: BucketRef;
  readonly #options: WorkloadOptions;
  /** A value of each key that was current not long ago, for If-Match. */
  readonly #seen = new Map<string, string>();
  begun = 0;

  constructor(world: World, history: History, bucket: BucketRef, options: WorkloadOptions) {
    this.#world = world;
    this.#history = history;
    this.#bucket = bucket;
    this.#options = options;
    const folders = ["", "a/", "b/", "b/ü-"];
    this.plainKeys = Array.from({ length: options.keys }, (_, i) => `${folders[i % 4]}key-${i}`);
    this.#logs = new Set(
      Array.from({ length: options.logs }, (_, i) => `${folders[i % 4]}log-${i}`),
    );
    this.keys = [...this.plainKeys, ...this.#logs];
  }

  /** Resolves when every client has ended. */
  async run(): Promise<void> {
    const clients = Array.from({ length: this.#options.clients }, (_, i) => this.#runClient(i));
    await Promise.all(clients);
  }

  async #runClient(number: number): Promise<void> {
    const { clock } = this.#world;
    const client = new Client(`c${number}`, this.#world, this.#history, this.#bucket);
    // Each draws for itself: leaving one out changes what no other does.
    const chance = this.#world.chance.fork(`workload ${number}`);
    while (this.begun < this.#options.operations && clock.now < this.#options.untilMs) {
      this.begun++;
      await this.#operate(client, chance);
      await clock.sleep(chance.fraction() * this.#options.thinkMs);
    }
  }

  async #operate(client: Client, chance: SeededChance): Promise<void> {
    const key = chance.pick(this.keys);
    if (chance.happens(this.#options.reads)) {
      if (chance.happens(0.06)) {
        const prefix = chance.pick(["", "", "a/", "b/"]);
        await client.list(prefix, 1 + chance.below(this.keys.length), this.keys);
        return;
      }
      const read = await client.get(key);
      if (read?.value !== undefined) this.#seen.set(key, read.value);
      return;
    }
    const size = chance.happens(this.#options.large)
      ? inlineBytesMax + 1 + chance.below(20_000)
      : 20 + chance.below(200);
    if (this.#logs.has(key)) {
      await client.append(key, size);
      return;
    }
    const draw = chance.fraction();
    if (draw < 0.2) {
      await client.delete(key);
      return;
    }
    const seen = this.#seen.get(key);
    let condition: object | undefined;
    if (draw < 0.35) condition = { ifNoneMatch: "*" };
    else if (draw < 0.55 && seen !== undefined) condition = { ifMatch: seen };
    const { value, outcome } = await client.put(key, size, { condition });
    if (outcome === "ok") this.#seen.set(key, value);
  }
}

/** Makes the bucket of a run, trying again until the cluster answers. */
export async function createTestBucket(world: World, name = "sim"): Promise<BucketRef> {
  const requestId = parseRequestId(toHex(world.chance.fork(`bucket ${name}`).bytes(16)));
  for (let attempt = 0; ; attempt++) {
    try {
      const bucket = await world.at(attempt % world.size, (object) =>
        object.createBucket({ name, owner: "sim", requestId }),
      );
      return { id: bucket.id, shards: bucket.shards };
    } catch (error) {
      if (attempt >= 20 || !(error instanceof RingstowError && error.retryable)) throw error;
      await world.clock.sleep(200);
    }
  }
}
