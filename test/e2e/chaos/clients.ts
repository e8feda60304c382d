// Concurrent clients that put, get, delete, write conditionally and list a few keys through the gateways, and what
// they saw as histories of single keys. Keys are changed for fresh ones after some hundred operations, so that a run
// of any length is checked in pieces that a search for an order can take; each is read once more at the end.
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { type DevFile } from "../dev-cluster.ts";
import { etagOf, makeBody } from "../../sim/bodies.ts";
import { type History, type Open } from "../../sim/history.ts";
import { type Condition, type Value } from "../../sim/linearizability.ts";
import { type SeededChance } from "../../sim/seeded-chance.ts";
import { inlineBytesMax } from "../../../shared/limits.ts";
import { until } from "../dev-cluster.ts";
import { clientOf, failureOf } from "./s3-client.ts";
import { type Timings } from "./timings.ts";

const KEYS = 6; // of one generation: few, so that clients meet
const GENERATION = 240; // operations begun on them
// An earlier attempt may still be at work when the next begins: their request id is the same.
const LIMITS = { attempts: 3, attemptMs: 10_000 };
const hangMs = 60_000; // longer than all attempts together
const finalReadMs = 60_000;

export interface ClientsOptions {
  readonly dev: DevFile;
  readonly endpoints: readonly string[];
  readonly chance: SeededChance;
  readonly history: History;
  readonly timings: Timings;
  readonly clients: number;
}

export class Clients {
  /** What no fault explains. */
  readonly defects: string[] = [];
  /** Failures whose outcome is unknown, by reason. */
  readonly reasons = new Map<string, number>();
  readonly #options: ClientsOptions;
  readonly #gateways: readonly S3Client[];
  #generation = 0;
  #begun = 0;
  #values = 0;
  /** A value of each key that was current not long ago, for If-Match. */
  #seen = new Map<string, string>();
  #stop = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: ClientsOptions) {
    this.#options = options;
    this.#gateways = options.endpoints.map((endpoint) => clientOf(options.dev, endpoint, LIMITS));
  }

  /** All clients work until quiet(). */
  run(): void {
    this.#stop = false;
    this.#options.timings.begin();
    const { clients, chance } = this.#options;
    this.#running = Promise.all(
      Array.from({ length: clients }, async (_, i) => {
        const own = chance.fork(`client ${i}`);
        while (!this.#stop) await this.#operate(`c${i}`, own);
      }),
    );
  }

  /** Resolves when what is under way has ended and nothing new begins. */
  async quiet(): Promise<void> {
    this.#options.timings.end();
    this.#stop = true;
    await this.#running;
  }

  /** Reads every key once more and lists it: what was acknowledged must be there. */
  async readAll(): Promise<void> {
    const generations = Array.from({ length: this.#generation + 1 }, (_, g) => g);
    const work = async (name: string): Promise<void> => {
      for (let g = generations.shift(); g !== undefined; g = generations.shift()) {
        const gateway = this.#gateways[g % this.#gateways.length]!;
        for (const key of keysOf(g))
          await until(`"${key}" to be read`, () => this.#get(gateway, key, name), finalReadMs);
        await until(`"g${g}/" to be listed`, () => this.#list(gateway, g, 1000, name), finalReadMs);
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, i) => work(`final ${i}`)));
  }

  destroy(): void {
    for (const gateway of this.#gateways) gateway.destroy();
  }

  async #operate(name: string, chance: SeededChance): Promise<void> {
    if (++this.#begun > GENERATION) {
      this.#begun = 1;
      this.#generation++;
      this.#seen = new Map();
    }
    const generation = this.#generation;
    const g = chance.below(this.#gateways.length);
    const gateway = this.#gateways[g]!;
    const who = `${name} by gateway ${g + 1}`;
    const key = chance.pick(keysOf(generation));
    const draw = chance.fraction();
    const startedMs = performance.now();
    if (draw < 0.35) await this.#get(gateway, key, who);
    else if (draw < 0.4) await this.#list(gateway, generation, 1 + chance.below(KEYS), who);
    else if (draw < 0.52) await this.#delete(gateway, key, who);
    else {
      const seen = this.#seen.get(key);
      const condition: Condition | undefined =
        draw < 0.64
          ? { ifNoneMatch: "*" }
          : draw < 0.8 && seen !== undefined
            ? { ifMatch: seen }
            : undefined;
      const size = chance.happens(0.1)
        ? inlineBytesMax + 1 + chance.below(100_000)
        : 20 + chance.below(200);
      await this.#put(gateway, key, size, condition, who);
    }
    const tookMs = performance.now() - startedMs;
    if (tookMs > hangMs) this.defects.push(`${who} had no answer for ${Math.round(tookMs)} ms`);
  }

  async #put(
    gateway: S3Client,
    Key: string,
    size: number,
    condition: Condition | undefined,
    who: string,
  ): Promise<void> {
    const { bytes, etag } = makeBody(`${Key} #${++this.#values}`, size);
    const open = this.#open(Key, { kind: "put", value: etag, condition }, who);
    const kind = condition
      ? condition.ifMatch === undefined
        ? "put if absent"
        : "put if match"
      : "put";
    try {
      const { ETag } = await gateway.send(
        new PutObjectCommand({
          Bucket: this.#options.dev.bucket,
          Key,
          Body: bytes,
          ...(condition?.ifMatch === undefined ? {} : { IfMatch: `"${condition.ifMatch}"` }),
          ...(condition?.ifNoneMatch === undefined ? {} : { IfNoneMatch: condition.ifNoneMatch }),
        }),
      );
      open.end(kind, { kind: "ok" });
      if (plain(ETag) !== etag) this.defects.push(`put "${Key}" answered ETag ${ETag}`);
      this.#seen.set(Key, etag);
    } catch (error) {
      this.#failed(open, kind, error);
    }
  }

  async #delete(gateway: S3Client, Key: string, who: string): Promise<void> {
    const open = this.#open(Key, { kind: "delete" }, who);
    try {
      await gateway.send(new DeleteObjectCommand({ Bucket: this.#options.dev.bucket, Key }));
      open.end("delete", { kind: "ok" });
    } catch (error) {
      this.#failed(open, "delete", error);
    }
  }

  /** True when there was an answer. */
  async #get(gateway: S3Client, Key: string, who: string): Promise<true | undefined> {
    const open = this.#open(Key, { kind: "get" }, who);
    try {
      const found = await gateway.send(
        new GetObjectCommand({ Bucket: this.#options.dev.bucket, Key }),
      );
      const bytes = await found.Body!.transformToByteArray();
      const value = plain(found.ETag);
      open.end("get", { kind: "ok", value });
      if (etagOf(bytes) !== value)
        this.defects.push(`get "${Key}" gave ${bytes.length} bytes that are not those of ${value}`);
      if (value !== undefined) this.#seen.set(Key, value);
      return true;
    } catch (error) {
      const failure = failureOf(error);
      if (failure.kind !== "refused" || failure.status !== 404) {
        this.#failed(open, "get", error);
        return undefined;
      }
      open.end("get", { kind: "ok", value: undefined });
      return true;
    }
  }

  /** Lists a generation page by page; each of its keys is then a read. True when every page had an answer. */
  async #list(
    gateway: S3Client,
    generation: number,
    MaxKeys: number,
    who: string,
  ): Promise<true | undefined> {
    const { history, dev, timings } = this.#options;
    const Prefix = `g${generation}/`;
    const calledAt = history.tick();
    const startedMs = performance.now();
    const listed = new Map<string, Value>();
    try {
      for (let ContinuationToken: string | undefined, more = true; more;) {
        const page = await gateway.send(
          new ListObjectsV2Command({ Bucket: dev.bucket, Prefix, MaxKeys, ContinuationToken }),
        );
        for (const { Key, ETag } of page.Contents ?? []) {
          if (listed.has(Key!)) this.defects.push(`a list gave "${Key}" twice`);
          listed.set(Key!, plain(ETag));
        }
        ContinuationToken = page.NextContinuationToken;
        more = page.IsTruncated === true;
      }
    } catch (error) {
      const failure = failureOf(error);
      timings.ended("list", failure.kind, startedMs);
      this.#note(failure);
      if (failure.kind === "refused") this.defects.push(`a list was refused: ${String(error)}`);
      return undefined;
    }
    const answeredAt = history.tick();
    timings.ended("list", "ok", startedMs);
    const known = keysOf(generation);
    for (const key of listed.keys())
      if (!known.includes(key)) this.defects.push(`a list gave "${key}", never written`);
    for (const key of known) {
      const outcome = { kind: "ok", value: listed.get(key) } as const;
      const note = `list ${who}`;
      history.add(key, { action: { kind: "get" }, outcome, calledAt, answeredAt, note });
    }
    return true;
  }

  #open(key: string, action: Parameters<History["call"]>[1], who: string): Ending {
    const { history, timings } = this.#options;
    const startedMs = performance.now();
    const at = `${who} at ${(startedMs / 1000).toFixed(3)} s`;
    return new Ending(history.call(key, action, at), timings, startedMs);
  }

  #failed(open: Ending, kind: string, error: unknown): void {
    const failure = failureOf(error);
    if (failure.kind === "refused") open.end(kind, { kind: "refused" });
    else open.leave(kind, failure.kind);
    this.#note(failure);
  }

  #note(failure: ReturnType<typeof failureOf>): void {
    if (failure.kind === "defect") this.defects.push(failure.reason);
    if (failure.kind === "unknown") {
      const reason = failure.reason.slice(0, 160);
      this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
    }
  }
}

/** One call under way: in the history, and in the timings. */
class Ending {
  readonly #open: Open;
  readonly #timings: Timings;
  readonly #startedMs: number;

  constructor(open: Open, timings: Timings, startedMs: number) {
    this.#open = open;
    this.#timings = timings;
    this.#startedMs = startedMs;
  }

  end(kind: string, outcome: Parameters<Open["answer"]>[0]): void {
    this.#open.answer(outcome);
    this.#timings.ended(kind, outcome.kind, this.#startedMs);
  }

  /** Its outcome stays unknown. */
  leave(kind: string, how: string): void {
    this.#timings.ended(kind, how, this.#startedMs);
  }
}

const keysOf = (generation: number): string[] =>
  Array.from({ length: KEYS }, (_, i) => `g${generation}/${i % 2 === 0 ? "a" : "b/ü"}-${i}`);

const plain = (etag: string | undefined): Value => etag?.replaceAll('"', "");
