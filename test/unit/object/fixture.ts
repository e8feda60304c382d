// A coordinator on fake index and data, with a clock that tests move by hand.
import { createHash } from "node:crypto";
import { type Genesis } from "../../../shared/genesis.ts";
import { parseBucketId, parseRequestId } from "../../../shared/ids.ts";
import {
  type BodyPlan,
  type BucketRef,
  type ByteStream,
  type GetRequest,
  type GetResult,
  type PutRequest,
} from "../../../shared/object-service.ts";
import { type NodeConfig } from "../../../node/config.ts";
import { type Clock, type Digest, type Log } from "../../../node/ports.ts";
import { type Route } from "../../../node/route/types.ts";
import { createObjectService } from "../../../node/object/object-service.ts";
import { nodeDigest } from "../../../node/runtime/node-digest.ts";
import { SeededChance } from "../../sim/seeded-chance.ts";
import { FakeData, concat } from "./fake-data.ts";
import { FakeIndex } from "./fake-index.ts";

export const SLICE_BITS = 4;

export const digest: Digest = nodeDigest;
export const HOP_SECRET = new Uint8Array(32).fill(9);

export const md5 = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("hex");
export const sha256 = (bytes: Uint8Array): string =>
  createHash("sha256").update(bytes).digest("hex");

export class HandClock implements Clock {
  nowMs = 1_800_000_000_000;
  monotonicMs(): number {
    return this.nowMs;
  }
  wallMs(): number {
    return this.nowMs;
  }
  after() {
    return { cancel: () => {} };
  }
}

export function makeService() {
  const clock = new HandClock();
  const index = new FakeIndex(clock);
  const data = new FakeData();
  const logged: string[] = [];
  const note = (event: string): void => void logged.push(event);
  const log: Log = { info: note, warn: note, error: note };
  const genesis = { sliceBits: SLICE_BITS } as Genesis;
  const config = { genesis, hopSecret: HOP_SECRET } as NodeConfig;
  const chance = new SeededChance(7);
  const route = {} as Route;
  const service = createObjectService({ config, clock, chance, digest, index, data, route, log });
  return { service, index, data, clock, logged };
}

export const BUCKET: BucketRef = { id: parseBucketId("b".repeat(32)), shards: 16 };

let requests = 0;
export function requestId() {
  requests += 1;
  return parseRequestId(requests.toString(16).padStart(32, "0"));
}

export const plan = (length?: number, more: Partial<BodyPlan> = {}): BodyPlan => ({
  length,
  encoding: "plain",
  ...more,
});

export function putRequest(key: string, body: BodyPlan, more: Partial<PutRequest> = {}) {
  return {
    bucket: BUCKET,
    key,
    body,
    precondition: {},
    requestId: requestId(),
    headers: {},
    metadata: {},
    ...more,
  } satisfies PutRequest;
}

export function getRequest(key: string, more: Partial<GetRequest> = {}): GetRequest {
  return { bucket: BUCKET, key, conditions: {}, headOnly: false, ...more };
}

/** Different bytes at every position up to 251 * 256. */
export function bytesOf(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i % 251) + (i >> 8) + seed;
  return bytes;
}

export async function* stream(bytes: Uint8Array, chunkBytes = 64 * 1024): ByteStream {
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    yield bytes.subarray(at, at + chunkBytes);
  }
}

export async function read(body: ByteStream): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return concat(chunks);
}

export async function readObject(result: GetResult): Promise<Uint8Array> {
  if (result.type !== "object") throw new Error("The object was not modified");
  return read(result.body);
}

/** A promise and what resolves it. */
export function gate() {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}
