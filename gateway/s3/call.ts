// One S3 request on its way through its handler: what was asked, by whom, and the means to answer.
import { sha256 } from "@noble/hashes/sha2.js";
import { type Context } from "hono";
import { RingstowError, assert } from "../../shared/errors.ts";
import { type LogicalId, type RequestId, toHex } from "../../shared/ids.ts";
import { type BucketRef, type ByteStream } from "../../shared/object-service.ts";
import { type NativeClient } from "../../shared/native-service.ts";
import { type NodeService } from "../../shared/object-protocol.ts";
import { type Bucket, type Permission } from "../../shared/records.ts";
import { logicalIdOf } from "../../shared/slices.ts";
import { type FindCredential } from "../auth/keys.ts";
import { NEEDED, isAllowed } from "../auth/permissions.ts";
import { type Authenticated } from "../auth/sigv4.ts";
import { type Platform } from "../platform.ts";
import { S3Error } from "./errors.ts";
import { sdkAttempt } from "./headers.ts";
import { type Route } from "./operation.ts";
import { type Target } from "./target.ts";
import { type RecordCache } from "../record-cache.ts";
import { type RequestHeaders } from "../request-headers.ts";

export interface GatewayConfig {
  readonly region: string;
  readonly credentials: FindCredential;
  /** How clients reach this gateway; its host is signed, and buckets are its sub-domains. */
  readonly publicUrl?: string | undefined;
  /** Whether X-Forwarded-Host comes from a proxy of ours. */
  readonly trustForwarded: boolean;
  /** HMAC key of continuation tokens, the same on all gateways of a cluster. */
  readonly tokenSecret: Uint8Array;
  /** Seals what only nodes may read, and signs access tokens: ClusterSecrets.hop. */
  readonly hopSecret: Uint8Array;
}

export interface CallParts {
  readonly context: Context;
  readonly headers: RequestHeaders;
  readonly config: GatewayConfig;
  readonly platform: Platform;
  readonly buckets: RecordCache<Bucket>;
  /** The nodes, nearest first; near the client or, with a point, near what decides about a key. */
  readonly serviceAt: (point: LogicalId | undefined) => NodeService;
  /** Who asks, for choosing what is near. */
  readonly client: NativeClient;
  readonly target: Target;
  readonly route: Route;
  readonly auth: Authenticated;
  /** x-amz-request-id of the answer. */
  readonly responseId: string;
  /** Tells the operator of a fault that the client sees as InternalError. */
  readonly reportFault: (error: unknown) => void;
}

/** A bucket as found, and the nodes to ask about one of its keys. */
export interface Place {
  readonly record: Bucket;
  readonly bucket: BucketRef;
  readonly service: NodeService;
}

/** `key` "": the bucket itself. */
interface Where {
  readonly bucket: string;
  readonly key: string;
}

const encoder = new TextEncoder();

export class Call {
  readonly config: GatewayConfig;
  readonly service: NodeService;
  readonly client: NativeClient;
  readonly target: Target;
  readonly route: Route;
  readonly auth: Authenticated;
  readonly responseId: string;
  readonly reportFault: (error: unknown) => void;
  readonly headers: RequestHeaders;
  readonly platform: Platform;
  readonly #serviceAt: CallParts["serviceAt"];
  readonly #context: Context;
  readonly #buckets: RecordCache<Bucket>;
  #body: ByteStream | undefined;
  #bodyTaken = false;

  constructor(parts: CallParts) {
    this.config = parts.config;
    this.#serviceAt = parts.serviceAt;
    this.service = parts.serviceAt(undefined);
    this.client = parts.client;
    this.target = parts.target;
    this.route = parts.route;
    this.auth = parts.auth;
    this.responseId = parts.responseId;
    this.reportFault = parts.reportFault;
    this.headers = parts.headers;
    this.platform = parts.platform;
    this.#context = parts.context;
    this.#buckets = parts.buckets;
  }

  /** A query parameter; undefined when it is not there. */
  query(name: string): string | undefined {
    return this.target.query.get(name);
  }

  /** Headers of an answer, with what every answer has. */
  newHeaders(): Headers {
    return new Headers({ "x-amz-request-id": this.responseId });
  }

  /**
   * Names what this request does to the nodes. The same for an SDK's retries of one invocation, so that a write is
   * done once; `part` sets apart the several writes of one request.
   */
  requestId(part = ""): RequestId {
    const invocation = this.headers.get("amz-sdk-invocation-id");
    if (invocation === null) return this.platform.randomId();
    const { operation, bucket, key } = this.route;
    const { accessKeyId } = this.auth;
    const upload = `${this.query("uploadId") ?? ""}\n${this.query("partNumber") ?? ""}`;
    const text = [accessKeyId, invocation, operation, bucket, key, upload, part].join("\n");
    return toHex(sha256(encoder.encode(text)).subarray(0, 16)) as RequestId;
  }

  /** Whether the client sent this request before, under the same requestId(): it may still be under way. */
  again(): boolean {
    return this.headers.has("amz-sdk-invocation-id") && sdkAttempt(this.headers) > 1;
  }

  /** The request's bytes. Once a reader has begun there is no second attempt with them. */
  body(): ByteStream {
    const inner = (this.#body ??= this.platform.requestBody(this.#context));
    return {
      [Symbol.asyncIterator]: () => {
        this.#bodyTaken = true;
        return inner[Symbol.asyncIterator]();
      },
    };
  }

  /**
   * Does work in a bucket, if the key may: what its operation needs, or to read where another bucket is given. When the cached record turns out to be stale, once more with a fresh one, unless the
   * body is gone: then the client must send again. Throws NoSuchBucket, AccessDenied, and what `work` throws.
   */
  async inBucket<T>(
    work: (place: Place) => Promise<T>,
    where: Where = this.route,
    needed: Permission = where === this.route ? this.#needed() : "read",
  ): Promise<T> {
    const { bucket: name, key } = where;
    const bucket = await this.#findBucket(name);
    this.#authorise(bucket, needed);
    const takenBefore = this.#bodyTaken;
    try {
      return await work(this.#place(bucket, key));
    } catch (error) {
      if (!(error instanceof RingstowError && error.code === "NoSuchBucket")) throw error;
      this.forgetBucket(bucket);
      const fresh = await this.#findBucket(name);
      if (fresh.id === bucket.id) throw error;
      this.#authorise(fresh, needed);
      if (this.#bodyTaken && !takenBefore) {
        throw new RingstowError("Unavailable", `The bucket "${name}" was made anew; send again`);
      }
      return work(this.#place(fresh, key));
    }
  }

  #needed(): Permission {
    const { operation } = this.route;
    assert(Object.hasOwn(NEEDED, operation), "work in a bucket needs a permission in it");
    return NEEDED[operation as keyof typeof NEEDED];
  }

  rememberBucket(bucket: Bucket): void {
    this.#buckets.set(bucket.name, bucket);
  }

  forgetBucket(bucket: Bucket): void {
    this.#buckets.evict(bucket.name, ({ id }) => id === bucket.id);
  }

  /** Keys lead to the node that most likely decides about them: one hop less for a write. */
  #place(record: Bucket, key: string): Place {
    const bucket = { id: record.id, shards: record.shards };
    const service =
      key === "" ? this.service : this.#serviceAt(logicalIdOf(bucket.id, key, bucket.shards));
    return { record, bucket, service };
  }

  #findBucket(name: string): Bucket | Promise<Bucket> {
    return this.#buckets.find(name, () => this.service.getBucket({ name }));
  }

  #authorise(bucket: Bucket, needed: Permission): void {
    if (!isAllowed(this.auth, bucket, needed)) throw new S3Error("AccessDenied");
  }
}
