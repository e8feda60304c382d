// Clients that write and read under faults and know what must come out. Each client owns its keys and does one call
// at a time, so every key has one known content, or two after a call that failed: the old one and the new one.
// Contents are made from a number, so that they need not be kept.
import { randomBytes } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  NoSuchKey,
  PutObjectCommand,
  type S3Client,
  S3ServiceException,
} from "@aws-sdk/client-s3";
import { inlineBytesMax } from "../../shared/limits.ts";
import { quantile } from "./chaos/timings.ts";
import { type DevFile } from "./dev-cluster.ts";
import { sdkClient } from "./sdk.ts";

const KiB = 1024;
const mixed = (other: number): number[] =>
  Array.from({ length: 11 }, (_, i) => (i % 3 === 0 ? other : KiB));
const INLINE_SIZES = mixed(inlineBytesMax);
// One in twelve is large: what is measured is waiting for nodes, not for this machine's processors.
const ALL_SIZES = [...mixed(100 * KiB), 3 * 1024 * KiB];
const KEYS_A_CLIENT = 24;
const pool = randomBytes(8 * 1024 * KiB);

/** A content by its number; 0: no object. */
type Content = number;

interface Owned {
  readonly key: string;
  readonly size: number;
  /** What may be there now; one unless a call failed. */
  possible: Set<Content>;
  etag: string | undefined;
}

/** The bytes that `content` stands for: different for every number, equal for the same one. */
function bytesOf(content: Content, size: number): Buffer {
  const from = (content * 7919) % (pool.length - size);
  const bytes = Buffer.from(pool.subarray(from, from + size));
  bytes.writeDoubleLE(content, 0);
  return bytes;
}

export interface Failure {
  readonly atMs: number;
  readonly what: string;
}

export interface LoadOptions {
  /** Between two calls of a client, ms: without one, clients take all the processors there are. */
  readonly pauseMs?: number;
  /** No object that is kept as a file: the disk that all nodes of a test share is not taken up by bodies. */
  readonly inline?: boolean;
}

export interface LoadReport {
  readonly calls: Readonly<Record<string, number>>;
  readonly writes: number;
  /** The longest time in which no client's write was acknowledged, and the longest single call. */
  readonly longestGapMs: number;
  readonly longestCallMs: number;
  /** How long acknowledged puts of 1 KiB took. */
  readonly smallPuts: { readonly count: number; readonly medianMs: number; readonly p99Ms: number };
}

/** Several clients on one cluster, all running between run() and quiet(). */
export class Load {
  readonly failures: Failure[] = [];
  readonly #clients: LoadClient[];
  readonly #calls: Record<string, number> = {};
  #running: Promise<unknown> | undefined;
  #stop = false;
  #lastAckMs = 0;
  #longestGapMs = 0;
  #longestCallMs = 0;
  #writes = 0;
  #smallPutsMs: number[] = [];
  #nextContent = 1;
  readonly #pauseMs: number;

  constructor(dev: DevFile, clients: number, { pauseMs = 0, inline = false }: LoadOptions = {}) {
    this.#pauseMs = pauseMs;
    const taken = inline ? INLINE_SIZES : ALL_SIZES;
    this.#clients = Array.from({ length: clients }, (_, i) => new LoadClient(this, dev, i, taken));
  }

  /** Makes a bucket for each client, so that the keys spread over many slices. */
  async prepare(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.prepare()));
  }

  /** Lets all clients work until quiet(). With `untilFailure` each one stops at its first failed call. */
  run(options: { untilFailure: boolean } = { untilFailure: false }): void {
    this.#stop = false;
    this.#lastAckMs = performance.now();
    const work = async (client: LoadClient): Promise<void> => {
      while (!this.#stop) {
        const failed = !(await client.step());
        if (failed && options.untilFailure) return;
        if (this.#pauseMs > 0) await setTimeout(this.#pauseMs);
      }
    };
    this.#running = Promise.all(this.#clients.map(work));
  }

  /** Resolves when the calls under way have ended and no new one starts. */
  async quiet(): Promise<void> {
    this.#noteGap();
    this.#stop = true;
    await this.#running;
  }

  /** Numbers since the last report. */
  report(): LoadReport {
    const report = {
      calls: { ...this.#calls },
      writes: this.#writes,
      longestGapMs: Math.round(this.#longestGapMs),
      longestCallMs: Math.round(this.#longestCallMs),
      smallPuts: {
        count: this.#smallPutsMs.length,
        medianMs: Math.round(quantile(this.#smallPutsMs, 0.5)),
        p99Ms: Math.round(quantile(this.#smallPutsMs, 0.99)),
      },
    };
    for (const name of Object.keys(this.#calls)) delete this.#calls[name];
    this.#writes = this.#longestGapMs = this.#longestCallMs = 0;
    this.#smallPutsMs = [];
    return report;
  }

  /** Reads every key through fresh clients. Resolves with what is wrong, and how many objects there are. */
  async verify(dev: DevFile): Promise<{ objects: number; wrong: string[] }> {
    const wrong: string[] = [];
    let objects = 0;
    await Promise.all(
      this.#clients.map(async (client) => {
        const s3 = sdkClient(dev);
        for (const owned of client.owned) {
          const found = await read(s3, client.bucket, owned.key);
          const content = [...owned.possible].find((one) => isContent(found, one, owned.size));
          if (content === undefined) {
            const there = found === undefined ? "nothing" : `${found.length} other bytes`;
            wrong.push(`${owned.key}: expected ${[...owned.possible].join(" or ")}, got ${there}`);
          } else {
            owned.possible = new Set([content]);
            if (content !== 0) objects++;
          }
          // A failed call may have written it: the ETag is not known any more.
          owned.etag = undefined;
        }
        s3.destroy();
      }),
    );
    return { objects, wrong };
  }

  destroy(): void {
    for (const client of this.#clients) client.s3.destroy();
  }

  newContent(): Content {
    return this.#nextContent++;
  }

  /** A call has ended as it should. `size`: bytes of the key's contents. */
  called(name: string, size: number, startedMs: number, acknowledgedWrite: boolean): void {
    const tookMs = performance.now() - startedMs;
    this.#calls[name] = (this.#calls[name] ?? 0) + 1;
    this.#longestCallMs = Math.max(this.#longestCallMs, tookMs);
    if (!acknowledgedWrite) return;
    if (name !== "delete" && size === KiB) this.#smallPutsMs.push(tookMs);
    this.#writes++;
    if (!this.#stop) this.#noteGap();
  }

  #noteGap(): void {
    const now = performance.now();
    this.#longestGapMs = Math.max(this.#longestGapMs, now - this.#lastAckMs);
    this.#lastAckMs = now;
  }
}

class LoadClient {
  readonly s3: S3Client;
  readonly owned: readonly Owned[];
  readonly #load: Load;
  readonly bucket: string;
  #turn = 0;

  constructor(load: Load, dev: DevFile, number: number, sizes: readonly number[]) {
    this.#load = load;
    this.bucket = `load-${number}`;
    this.s3 = sdkClient(dev);
    this.owned = Array.from({ length: KEYS_A_CLIENT }, (_, i) => ({
      key: `client-${number}/key-${i}`,
      size: sizes[i % sizes.length]!,
      possible: new Set([0]),
      etag: undefined,
    }));
  }

  async prepare(): Promise<void> {
    await this.s3.send(new CreateBucketCommand({ Bucket: this.bucket }));
  }

  /** One call. False when it failed; a refusal that had to come is no failure. */
  async step(): Promise<boolean> {
    const owned = this.owned[Math.floor(Math.random() * this.owned.length)]!;
    const exists = !owned.possible.has(0);
    const startedMs = performance.now();
    const kind = this.#turn++ % 10;
    const name = kind < 3 ? "get" : kind < 4 ? "delete" : kind < 7 ? "put" : "conditional put";
    try {
      if (name === "get") await this.#get(owned);
      else if (name === "delete") await this.#delete(owned);
      else if (name === "put") await this.#put(owned, {});
      else if (!exists) await this.#put(owned, { IfNoneMatch: "*" });
      else if (kind === 7) await this.#refused(owned, { IfNoneMatch: "*" });
      else if (kind === 8) await this.#refused(owned, { IfMatch: '"0123456789abcdef"' });
      else await this.#put(owned, owned.etag === undefined ? {} : { IfMatch: owned.etag });
      const isWrite = name !== "get" && !(exists && (kind === 7 || kind === 8));
      this.#load.called(name, owned.size, startedMs, isWrite);
      return true;
    } catch (error) {
      const status = (error as S3ServiceException).$metadata?.httpStatusCode;
      const attempts = (error as S3ServiceException).$metadata?.attempts;
      this.#load.failures.push({
        atMs: performance.now(),
        what:
          `${name} ${owned.key} (${owned.size} bytes): ${String(error)} ` +
          `status ${status} attempts ${attempts} after ${Math.round(performance.now() - startedMs)} ms`,
      });
      return false;
    }
  }

  async #get(owned: Owned): Promise<void> {
    const found = await read(this.s3, this.bucket, owned.key);
    if ([...owned.possible].some((one) => isContent(found, one, owned.size))) return;
    throw new Error(`Wrong content: ${found === undefined ? "nothing" : `${found.length} bytes`}`);
  }

  async #delete(owned: Owned): Promise<void> {
    owned.possible.add(0);
    await this.s3.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: owned.key }));
    owned.possible = new Set([0]);
    owned.etag = undefined;
  }

  async #put(owned: Owned, condition: { IfMatch?: string; IfNoneMatch?: string }): Promise<void> {
    const content = this.#load.newContent();
    owned.possible.add(content);
    const Body = bytesOf(content, owned.size);
    const put = new PutObjectCommand({ Bucket: this.bucket, Key: owned.key, Body, ...condition });
    const { ETag } = await this.s3.send(put);
    owned.possible = new Set([content]);
    owned.etag = ETag;
  }

  /** A put that must fail with 412 and change nothing. */
  async #refused(
    owned: Owned,
    condition: { IfMatch?: string; IfNoneMatch?: string },
  ): Promise<void> {
    const Body = bytesOf(this.#load.newContent(), owned.size);
    const put = new PutObjectCommand({ Bucket: this.bucket, Key: owned.key, Body, ...condition });
    const status = await this.s3.send(put).then(
      () => 200,
      (error: unknown) => {
        if (error instanceof S3ServiceException && error.name === "PreconditionFailed") return 412;
        throw error;
      },
    );
    if (status !== 412) throw new Error(`A put was not refused: ${JSON.stringify(condition)}`);
  }
}

async function read(s3: S3Client, Bucket: string, Key: string): Promise<Buffer | undefined> {
  try {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }));
    return Buffer.from(await Body!.transformToByteArray());
  } catch (error) {
    if (error instanceof NoSuchKey) return undefined;
    throw error;
  }
}

function isContent(found: Buffer | undefined, content: Content, size: number): boolean {
  if (content === 0) return found === undefined;
  return found !== undefined && found.equals(bytesOf(content, size));
}
