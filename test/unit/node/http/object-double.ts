// An ObjectService in memory: keeps what is put, records every call, answers the rest with fixed replies.
import { createHash } from "node:crypto";
import { RingstowError } from "../../../../shared/errors.ts";
import { type BucketId, type RequestId, type UploadId } from "../../../../shared/ids.ts";
import {
  type ByteStream,
  type GetRequest,
  type GetResult,
  type ObjectService,
  type PutResult,
} from "../../../../shared/object-service.ts";
import { type Bucket, type Entry, type Upload } from "../../../../shared/records.ts";

export const bucketRef = { id: "b".repeat(32) as BucketId, shards: 16 };
export const requestId = "c".repeat(32) as RequestId;
export const uploadId = "d".repeat(32) as UploadId;

export const someBucket: Bucket = {
  name: "photos",
  id: bucketRef.id,
  shards: 16,
  createdMs: 1_700_000_000_000,
  owner: "key",
};
export const someUpload: Upload = {
  id: uploadId,
  initiatedMs: 5,
  headers: { contentType: "text/plain" },
  metadata: { färbe: "blau 💙" },
};

export class ObjectDouble implements ObjectService {
  readonly calls: { method: string; request: unknown }[] = [];
  readonly objects = new Map<string, { bytes: Buffer; entry: Entry }>();
  /** What a get's body is, instead of one stream of the stored bytes. */
  bodyOf: ((bytes: Buffer) => ByteStream) | undefined;
  /** Thrown by every call before it reads anything. */
  failure: Error | undefined;
  /** How long getBucket takes. */
  delayMs = 0;
  /** Bodies that were told to stop before their end. */
  stopped = 0;
  /** Errors that the bodies of uploads threw. */
  readonly bodyErrors: unknown[] = [];

  #record(method: string, request: unknown): void {
    this.calls.push({ method, request });
    if (this.failure) throw this.failure;
  }

  store(key: string, bytes: Buffer): Entry {
    const entry: Entry = {
      headers: { contentType: "text/plain" },
      metadata: {},
      size: bytes.length,
      etag: createHash("md5").update(bytes).digest("hex"),
      body: { kind: "blocks", blocks: [{ id: "e".repeat(32) as never, size: 1, replicas: [] }] },
      version: (this.objects.get(key)?.entry.version ?? 0) + 1,
      lastModifiedMs: 7,
    };
    this.objects.set(key, { bytes, entry });
    return entry;
  }

  async #take(key: string, body: ByteStream): Promise<PutResult> {
    const chunks: Uint8Array[] = [];
    try {
      for await (const chunk of body) chunks.push(chunk);
    } catch (error) {
      this.bodyErrors.push(error);
      throw error;
    }
    const { etag, version, lastModifiedMs } = this.store(key, Buffer.concat(chunks));
    return { etag, version, lastModifiedMs };
  }

  async put(request: Parameters<ObjectService["put"]>[0], body: ByteStream): Promise<PutResult> {
    this.#record("put", request);
    return this.#take(request.key, body);
  }

  async putPart(
    request: Parameters<ObjectService["putPart"]>[0],
    body: ByteStream,
  ): Promise<PutResult> {
    this.#record("putPart", request);
    return this.#take(`${request.key}#${request.partNumber}`, body);
  }

  async get(request: GetRequest): Promise<GetResult> {
    this.#record("get", request);
    const found = this.objects.get(request.key);
    if (!found) throw new RingstowError("NoSuchKey", undefined, { key: request.key });
    const { bytes, entry } = found;
    if (request.conditions.ifNoneMatch?.includes(entry.etag)) return { type: "notModified", entry };
    if (request.conditions.ifMatch && !request.conditions.ifMatch.includes(entry.etag))
      throw new RingstowError("PreconditionFailed");
    const range = request.range && "from" in request.range ? request.range : undefined;
    const from = range?.from ?? 0;
    const to = range?.to === undefined ? bytes.length : range.to + 1;
    const part = bytes.subarray(from, to);
    const body = request.headOnly
      ? this.#chunked(Buffer.alloc(0))
      : (this.bodyOf ?? ((b) => this.#chunked(b)))(part);
    return {
      type: "object",
      entry,
      from,
      to,
      partial: range !== undefined,
      partsCount: undefined,
      body,
    };
  }

  /** Chunks of 256 KiB; counts a return() before the end. */
  #chunked(bytes: Buffer): ByteStream {
    return {
      [Symbol.asyncIterator]: () => {
        let at = 0;
        return {
          next: async () => {
            if (at >= bytes.length) return { done: true, value: undefined };
            const value = bytes.subarray(at, at + 256 * 1024);
            at += value.length;
            return { done: false, value };
          },
          return: async () => {
            if (at < bytes.length) this.stopped++;
            return { done: true, value: undefined };
          },
        };
      },
    };
  }

  #answer<T>(method: string, request: unknown, reply: T): Promise<T> {
    this.#record(method, request);
    return Promise.resolve(reply);
  }

  async copy(request: Parameters<ObjectService["copy"]>[0]): Promise<PutResult> {
    const checksum = { algorithm: "crc32", type: "full", value: "AAAAAA==" } as const;
    return this.#answer("copy", request, { etag: "y", version: 2, lastModifiedMs: 3, checksum });
  }
  async copyPart(request: Parameters<ObjectService["copyPart"]>[0]): Promise<PutResult> {
    return this.#answer("copyPart", request, { etag: "z", version: 1, lastModifiedMs: 3 });
  }
  async createBucket(request: Parameters<ObjectService["createBucket"]>[0]): Promise<Bucket> {
    return this.#answer("createBucket", request, someBucket);
  }
  async getBucket(request: { name: string }): Promise<Bucket> {
    await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    return this.#answer("getBucket", request, someBucket);
  }
  async deleteBucket(request: { name: string; requestId: RequestId }): Promise<void> {
    return this.#answer("deleteBucket", request, undefined);
  }
  async listBuckets(request: Parameters<ObjectService["listBuckets"]>[0]) {
    return this.#answer("listBuckets", request, { buckets: [someBucket], truncated: true });
  }
  async delete(request: Parameters<ObjectService["delete"]>[0]) {
    return this.#answer("delete", request, { existed: true });
  }
  async list(request: Parameters<ObjectService["list"]>[0]) {
    const entries = [...this.objects].map(([key, { entry }]) => ({ key, entry }));
    return this.#answer("list", request, {
      entries,
      commonPrefixes: ["ü/"],
      truncated: false,
      last: { after: "ü/", afterPrefix: true },
    });
  }
  async createUpload(request: Parameters<ObjectService["createUpload"]>[0]) {
    return this.#answer("createUpload", request, someUpload);
  }
  async completeUpload(request: Parameters<ObjectService["completeUpload"]>[0]) {
    return this.#answer("completeUpload", request, { etag: "x-2", version: 3, lastModifiedMs: 4 });
  }
  async abortUpload(request: Parameters<ObjectService["abortUpload"]>[0]): Promise<void> {
    return this.#answer("abortUpload", request, undefined);
  }
  async listParts(request: Parameters<ObjectService["listParts"]>[0]) {
    const part = { size: 1, etag: "e", lastModifiedMs: 2, body: { kind: "inline" as const } };
    return this.#answer("listParts", request, {
      upload: someUpload,
      parts: [{ ...part, partNumber: 9 }],
      truncated: false,
    });
  }
  async listUploads(request: Parameters<ObjectService["listUploads"]>[0]) {
    return this.#answer("listUploads", request, {
      uploads: [{ key: "k", upload: someUpload }],
      commonPrefixes: [],
      truncated: true,
      nextKeyMarker: "k",
      nextUploadIdMarker: uploadId,
    });
  }
}
