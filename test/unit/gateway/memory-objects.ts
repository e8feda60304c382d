// A test double of ObjectService in memory: enough of its contract to drive the gateway. It never decodes aws-chunked.
import { createHash, randomBytes } from "node:crypto";
import { RingstowError } from "../../../shared/errors.ts";
import { type BucketId, type UploadId } from "../../../shared/ids.ts";
import {
  type BodyPlan,
  type BucketRef,
  type ByteStream,
  type CopySource,
  type GetRequest,
  type GetResult,
  type ListRequest,
  type ListResult,
  type ObjectService,
  type PutResult,
} from "../../../shared/object-service.ts";
import {
  type Bucket,
  type Checksum,
  type Entry,
  type Precondition,
  type Upload,
} from "../../../shared/records.ts";
import { compareUtf8 } from "../../../shared/utf8.ts";

interface Stored {
  readonly entry: Entry;
  readonly bytes: Uint8Array;
  readonly partsCount: number | undefined;
}

interface StoredUpload {
  readonly key: string;
  readonly upload: Upload;
  readonly parts: Map<number, { etag: string; bytes: Uint8Array; checksum: Checksum | undefined }>;
}

const md5 = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("hex");
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const random = <T extends string>(): T => randomBytes(16).toString("hex") as T;

async function collect(body: ByteStream): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks));
}

export class MemoryObjects {
  readonly buckets = new Map<string, Bucket>();
  readonly objects = new Map<string, Map<string, Stored>>();
  readonly uploads = new Map<UploadId, StoredUpload>();
  /** Every call, by name, with its request. */
  readonly calls: { name: string; request: never }[] = [];
  nowMs = Date.UTC(2026, 0, 2, 3, 4, 5);

  /** The double as the service that a gateway calls. */
  service(): ObjectService {
    const record =
      <A extends unknown[], R>(name: string, work: (...args: A) => Promise<R>) =>
      (...args: A): Promise<R> => {
        this.calls.push({ name, request: args[0] as never });
        return work.apply(this, args);
      };
    return {
      createBucket: record("createBucket", this.#createBucket),
      getBucket: record("getBucket", async ({ name }) => this.#bucket(name)),
      deleteBucket: record("deleteBucket", this.#deleteBucket),
      listBuckets: record("listBuckets", async ({ after, limit }) => {
        const all = [...this.buckets.values()]
          .filter(({ name }) => after === undefined || name > after)
          .toSorted((a, b) => compareUtf8(a.name, b.name));
        return { buckets: all.slice(0, limit), truncated: all.length > limit };
      }),
      put: record("put", async (request, body) => {
        const objects = this.#in(request.bucket);
        const bytes = checked(await collect(body), request.body);
        this.#precondition(objects.get(request.key), request.precondition);
        return this.#store(objects, request.key, bytes, md5(bytes), {
          ...request,
          checksum: fullChecksum(request.body),
        });
      }),
      get: record("get", this.#get),
      copy: record("copy", async ({ bucket, key, source, described, precondition }) => {
        const { entry, bytes } = this.#source(source);
        const objects = this.#in(bucket);
        this.#precondition(objects.get(key), precondition);
        const { checksum } = entry;
        return this.#store(objects, key, bytes, entry.etag, {
          ...(described ?? entry),
          checksum,
        });
      }),
      copyPart: record("copyPart", async ({ source, uploadId, partNumber, range }) => {
        const upload = this.#upload(uploadId);
        const { entry, bytes } = this.#source(source);
        if (range && range.to >= entry.size) {
          throw new RingstowError("InvalidRange", undefined, { size: String(entry.size) });
        }
        const part = range ? bytes.slice(range.from, range.to + 1) : bytes;
        const checksum = range ? undefined : entry.checksum;
        upload.parts.set(partNumber, { etag: md5(part), bytes: part, checksum });
        return { etag: md5(part), version: 1, lastModifiedMs: this.nowMs, checksum };
      }),
      delete: record("delete", async ({ bucket, key, precondition }) => {
        const objects = this.#in(bucket);
        this.#precondition(objects.get(key), precondition);
        return { existed: objects.delete(key) };
      }),
      list: record("list", this.#list),
      createUpload: record("createUpload", async ({ bucket, key, headers, metadata, checksum }) => {
        this.#in(bucket);
        const upload: Upload = {
          id: random(),
          initiatedMs: this.nowMs,
          headers,
          metadata,
          checksum,
        };
        this.uploads.set(upload.id, { key, upload, parts: new Map() });
        return upload;
      }),
      putPart: record("putPart", async ({ uploadId, partNumber, body: plan }, body) => {
        const upload = this.#upload(uploadId);
        const bytes = checked(await collect(body), plan);
        const checksum = fullChecksum(plan);
        upload.parts.set(partNumber, { etag: md5(bytes), bytes, checksum });
        return { etag: md5(bytes), version: 1, lastModifiedMs: this.nowMs, checksum };
      }),
      completeUpload: record("completeUpload", async (request) => {
        const { bucket, key, uploadId, parts } = request;
        const upload = this.#upload(uploadId);
        const chosen = parts.map(({ partNumber, etag }) => {
          const part = upload.parts.get(partNumber);
          if (part?.etag !== etag) throw new RingstowError("InvalidPart");
          return part;
        });
        const digests = Buffer.concat(chosen.map(({ etag }) => Buffer.from(etag, "hex")));
        const bytes = new Uint8Array(Buffer.concat(chosen.map((part) => part.bytes)));
        const etag = `${md5(digests)}-${chosen.length}`;
        this.uploads.delete(uploadId);
        const kind = upload.upload.checksum;
        const checksum = kind && request.checksum && { ...kind, value: request.checksum.value };
        const described = { ...upload.upload, checksum };
        return this.#store(this.#in(bucket), key, bytes, etag, described, chosen.length);
      }),
      abortUpload: record("abortUpload", async ({ uploadId }) => {
        this.#upload(uploadId);
        this.uploads.delete(uploadId);
      }),
      listParts: record("listParts", async ({ uploadId, after, limit }) => {
        const { upload, parts } = this.#upload(uploadId);
        const rows = [...parts]
          .filter(([partNumber]) => partNumber > after)
          .toSorted(([a], [b]) => a - b)
          .map(([partNumber, { etag, bytes, checksum }]) => ({
            partNumber,
            checksum,
            etag,
            size: bytes.length,
            lastModifiedMs: this.nowMs,
            body: { kind: "inline" as const },
            replaced: [],
          }));
        return { upload, parts: rows.slice(0, limit), truncated: rows.length > limit } as never;
      }),
      listUploads: record("listUploads", async () => ({
        uploads: [...this.uploads.values()].map(({ key, upload }) => ({ key, upload })),
        commonPrefixes: [],
        truncated: false,
        nextKeyMarker: undefined,
        nextUploadIdMarker: undefined,
      })),
    };
  }

  async #createBucket({ name, owner }: { name: string; owner: string }): Promise<Bucket> {
    const known = this.buckets.get(name);
    if (known) {
      throw new RingstowError(
        known.owner === owner ? "BucketAlreadyOwnedByYou" : "BucketAlreadyExists",
      );
    }
    const bucket: Bucket = {
      name,
      id: random<BucketId>(),
      shards: 16,
      createdMs: this.nowMs,
      owner,
    };
    this.buckets.set(name, bucket);
    this.objects.set(bucket.id, new Map());
    return bucket;
  }

  async #deleteBucket({ name }: { name: string }): Promise<void> {
    const bucket = this.#bucket(name);
    if (this.#in(bucket).size > 0) throw new RingstowError("BucketNotEmpty");
    this.buckets.delete(name);
    this.objects.delete(bucket.id);
  }

  async #get(request: GetRequest): Promise<GetResult> {
    const stored = this.#in(request.bucket).get(request.key);
    if (!stored) throw new RingstowError("NoSuchKey");
    const { entry, bytes, partsCount } = stored;
    const { ifMatch, ifNoneMatch } = request.conditions;
    const names = (etags: readonly string[]): boolean =>
      etags.includes("*") || etags.includes(entry.etag);
    if (ifMatch && !names(ifMatch)) throw new RingstowError("PreconditionFailed");
    if (ifNoneMatch && names(ifNoneMatch)) return { type: "notModified", entry };
    let from = 0;
    let to = bytes.length;
    const { range } = request;
    if (range && "suffix" in range) from = Math.max(0, to - range.suffix);
    else if (range) [from, to] = [range.from, Math.min(to, (range.to ?? to) + 1)];
    if (range && from >= bytes.length) {
      throw new RingstowError("InvalidRange", undefined, {
        size: String(bytes.length),
      });
    }
    const slice = request.headOnly ? [] : [bytes.slice(from, to)];
    const body = (async function* () {
      yield* slice;
    })();
    const partial = range !== undefined || request.partNumber !== undefined;
    return { type: "object", entry, from, to, partial, partsCount, body };
  }

  #source({ bucket, key, conditions: { ifMatch, ifNoneMatch } }: CopySource): Stored {
    const stored = this.#in(bucket).get(key);
    if (!stored) throw new RingstowError("NoSuchKey");
    const named = (etags: readonly string[]): boolean =>
      etags.includes("*") || etags.includes(stored.entry.etag);
    if ((ifMatch && !named(ifMatch)) || (ifNoneMatch && named(ifNoneMatch))) {
      throw new RingstowError("PreconditionFailed");
    }
    return stored;
  }

  async #list(request: ListRequest): Promise<ListResult> {
    const { prefix, delimiter, after, afterPrefix, limit } = request;
    const entries: { key: string; entry: Entry }[] = [];
    const common: string[] = [];
    let last: ListResult["last"];
    const objects = [...this.#in(request.bucket)].toSorted(([a], [b]) => compareUtf8(a, b));
    for (const [key, { entry }] of objects) {
      if (!key.startsWith(prefix)) continue;
      if (after !== undefined && compareUtf8(key, after) <= 0) continue;
      if (after !== undefined && afterPrefix && key.startsWith(after)) continue;
      const at = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
      const rolled = at < 0 ? undefined : key.slice(0, at + delimiter.length);
      if (rolled !== undefined && common.includes(rolled)) continue;
      if (entries.length + common.length === limit) {
        return { entries, commonPrefixes: common, truncated: true, last };
      }
      if (rolled === undefined) entries.push({ key, entry });
      else common.push(rolled);
      last = { after: rolled ?? key, afterPrefix: rolled !== undefined };
    }
    return { entries, commonPrefixes: common, truncated: false, last };
  }

  #store(
    objects: Map<string, Stored>,
    key: string,
    bytes: Uint8Array,
    etag: string,
    described: Pick<Entry, "headers" | "metadata" | "checksum">,
    partsCount?: number,
  ): PutResult {
    const version = (objects.get(key)?.entry.version ?? 0) + 1;
    const entry: Entry = {
      headers: described.headers,
      metadata: described.metadata,
      checksum: described.checksum,
      size: bytes.length,
      etag,
      body: { kind: "inline" },
      version,
      lastModifiedMs: this.nowMs,
    };
    objects.set(key, { entry, bytes, partsCount });
    return { etag, version, lastModifiedMs: this.nowMs, checksum: described.checksum };
  }

  #precondition(stored: Stored | undefined, { ifMatch, ifNoneMatch }: Precondition): void {
    const names = (etags: readonly string[]): boolean =>
      stored !== undefined && (etags.includes("*") || etags.includes(stored.entry.etag));
    if (ifMatch && !stored) throw new RingstowError("NoSuchKey");
    if (ifMatch && !names(ifMatch)) throw new RingstowError("PreconditionFailed");
    if (ifNoneMatch && names(ifNoneMatch)) throw new RingstowError("PreconditionFailed");
  }

  #bucket(name: string): Bucket {
    const bucket = this.buckets.get(name);
    if (!bucket) throw new RingstowError("NoSuchBucket");
    return bucket;
  }

  #in(bucket: BucketRef): Map<string, Stored> {
    const objects = this.objects.get(bucket.id);
    if (!objects) throw new RingstowError("NoSuchBucket");
    return objects;
  }

  #upload(id: UploadId): StoredUpload {
    const upload = this.uploads.get(id);
    if (!upload) throw new RingstowError("NoSuchUpload");
    return upload;
  }
}

/** What the coordinator would store, taken for right: it is the coordinator that checks. */
function fullChecksum({ checksum }: BodyPlan): Checksum | undefined {
  return checksum?.value === undefined
    ? undefined
    : { algorithm: checksum.algorithm, type: "full", value: checksum.value };
}

function checked(bytes: Uint8Array, plan: BodyPlan): Uint8Array {
  if (plan.encoding === "plain" && plan.length !== undefined && bytes.length !== plan.length) {
    throw new RingstowError("IncompleteBody");
  }
  if (plan.md5 !== undefined && md5(bytes) !== plan.md5) {
    throw new RingstowError("ContentDigestMismatch");
  }
  if (plan.sha256 !== undefined && sha256(bytes) !== plan.sha256) {
    throw new RingstowError("ContentSha256Mismatch");
  }
  return bytes;
}
