// A typed client of the native API, for any runtime with fetch: the paper's Client App. It signs by Signature V4 and
// works from the same table of calls as the gateway. Not used by Ringstow itself.
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import * as z from "zod/mini";
import { type ErrorCode, RingstowError, isErrorCode } from "./errors.ts";
import { type RequestId, toHex } from "./ids.ts";
import {
  type BeginReply,
  type LookupReply,
  NATIVE_ROUTES,
  type NativeCall,
  type NativeRoute,
  nativeErrorSchema,
  nativePath,
} from "./native-api.ts";

export interface ClientOptions {
  /** Base URL of a gateway, without a trailing slash. */
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Default "us-east-1". */
  readonly region?: string | undefined;
  readonly fetch?: typeof globalThis.fetch | undefined;
}

/** An object, by bucket and key. */
export interface Name {
  readonly bucket: string;
  readonly key: string;
}

export type Grant = Extract<BeginReply, { state: "granted" }>;

type ReplyOf<C extends NativeCall> = (typeof NATIVE_ROUTES)[C] extends {
  readonly reply: infer S extends z.ZodMiniType;
}
  ? z.infer<S>
  : undefined;

interface CallOptions {
  readonly query?: Readonly<Record<string, string | undefined>> | undefined;
  readonly json?: unknown;
  readonly body?: BodyInit | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

const NO_NAME: Name = { bucket: "", key: "" };
/** One call that waits; the next one goes on. */
const waitMs = 20_000;

/** All methods throw RingstowError with the server's code; a code unknown here is Internal. */
export class RingstowClient {
  readonly #options: ClientOptions;
  readonly #fetch: typeof globalThis.fetch;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
  }

  // -------------------------------------------------------------- objects

  async buckets(): Promise<ReplyOf<"listBuckets">["buckets"]> {
    return (await this.#json("listBuckets", NO_NAME)).buckets;
  }

  createBucket(bucket: string): Promise<ReplyOf<"createBucket">> {
    return this.#json("createBucket", { bucket, key: "" });
  }

  async deleteBucket(bucket: string): Promise<void> {
    await this.#call("deleteBucket", { bucket, key: "" });
  }

  /** One page; give `next` as `after` for the next one. */
  list(
    bucket: string,
    query: { prefix?: string; delimiter?: string; after?: string; limit?: number } = {},
  ): Promise<ReplyOf<"listObjects">> {
    const limit = query.limit === undefined ? undefined : String(query.limit);
    return this.#json("listObjects", { bucket, key: "" }, { query: { ...query, limit } });
  }

  /** `headers` may hold If-Match, If-None-Match, Content-Type, x-amz-meta-*. */
  put(
    name: Name,
    body: BodyInit,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<ReplyOf<"putObject">> {
    return this.#json("putObject", name, { body, headers });
  }

  /** Through the gateway. */
  get(name: Name, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    return this.#call("getObject", name, { headers });
  }

  /** Headers alone. */
  head(name: Name, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    return this.#call("headObject", name, { headers });
  }

  /** `headers` may hold If-Match. */
  delete(
    name: Name,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<ReplyOf<"deleteObject">> {
    return this.#json("deleteObject", name, { headers });
  }

  // -------------------------------------------------------------- the paper's workflow

  /** With `since`, waits for another revision, at most some 20 s. */
  lookup(name: Name, since?: string): Promise<LookupReply> {
    const query = { since, wait: since === undefined ? undefined : String(waitMs) };
    return this.#json("lookup", name, { query });
  }

  /** Bytes from the best replicas, without the gateway; through it where the object has no blocks. */
  async read(name: Name): Promise<Uint8Array> {
    const { best } = await this.lookup(name);
    if (best.length === 0) return new Uint8Array(await (await this.get(name)).arrayBuffer());
    const whole = new Uint8Array(best.reduce((bytes, { size }) => bytes + size, 0));
    let at = 0;
    for (const { readUrl, size } of best) {
      const answer = await this.#direct(readUrl, { method: "GET" });
      const bytes = new Uint8Array(await answer.arrayBuffer());
      if (bytes.length !== size) throw new RingstowError("Corrupt", "A block has another length");
      whole.set(bytes, at);
      at += size;
    }
    return whole;
  }

  /** The lock, or a place in its queue. */
  tryBegin(
    name: Name,
    asked: { holder?: string; leaseMs?: number; requestId?: RequestId; waitMs?: number } = {},
  ): Promise<BeginReply> {
    return this.#json("beginWrite", name, { json: asked });
  }

  /** The lock, when its turn has come. Waits as long as that takes: end it with `signal`. */
  async begin(
    name: Name,
    asked: { holder?: string; leaseMs?: number } = {},
    signal?: AbortSignal,
  ): Promise<Grant> {
    let begun = await this.tryBegin(name, { ...asked, waitMs });
    while (begun.state === "queued") {
      if (signal?.aborted) {
        await this.cancel(name, begun.requestId);
        signal.throwIfAborted();
      }
      begun = await this.tryBegin(name, { ...asked, waitMs, requestId: begun.requestId });
    }
    return begun;
  }

  /** Bytes at an offset of the draft; its size afterwards. Throws FenceTooOld when the lease ran out. */
  async write(
    grant: Pick<Grant, "writeUrl">,
    offset: number,
    bytes: BodyInit,
  ): Promise<{ size: number }> {
    const headers = { "x-ringstow-offset": String(offset) };
    const answer = await this.#direct(grant.writeUrl, { method: "PATCH", headers, body: bytes });
    return (await answer.json()) as { size: number };
  }

  /** A full lease from now. Throws FenceTooOld. */
  renew(name: Name, { fence }: Pick<Grant, "fence">): Promise<ReplyOf<"renewWrite">> {
    return this.#json("renewWrite", name, { json: { fence } });
  }

  /** Publishes the draft as the next version. Throws FenceTooOld. */
  finish(
    name: Name,
    { fence, block, node, requestId }: Grant,
    described: { contentType?: string; metadata?: Record<string, string> } = {},
  ): Promise<ReplyOf<"finishWrite">> {
    // The grant's own id names another operation; its first half is as good a name for this one.
    const finishId = toHex(sha256(new TextEncoder().encode(`finish ${requestId}`))).slice(0, 32);
    const json = { fence, block, node: node.id, requestId: finishId, ...described };
    return this.#json("finishWrite", name, { json });
  }

  /** Lookups, the first at once, then one at every change; ends when all pointers of all blocks are equal. */
  async *watch(name: Name): AsyncGenerator<LookupReply, void, void> {
    let since: string | undefined;
    for (;;) {
      const found = await this.lookup(name, since);
      if (found.revision !== since) yield found;
      if (isConverged(found)) return;
      since = found.revision;
    }
  }

  async unlock(name: Name, { fence }: Pick<Grant, "fence">): Promise<void> {
    await this.#call("unlock", name, { query: { fence: String(fence) } });
  }

  /** Leaves the queue, or gives the lock back. */
  async cancel(name: Name, requestId: RequestId): Promise<void> {
    await this.#call("unlock", name, { query: { requestId } });
  }

  // -------------------------------------------------------------- calls

  async #json<C extends NativeCall>(
    call: C,
    name: Name,
    options: CallOptions = {},
  ): Promise<ReplyOf<C>> {
    const answer = await this.#call(call, name, options);
    const { reply } = NATIVE_ROUTES[call] as { reply: z.ZodMiniType };
    return reply.parse(await answer.json()) as ReplyOf<C>;
  }

  async #call(call: NativeCall, name: Name, options: CallOptions = {}): Promise<Response> {
    const route: NativeRoute = NATIVE_ROUTES[call];
    const { endpoint } = this.#options;
    const path = nativePath(route, name.bucket, name.key);
    const query = canonicalQuery(options.query ?? {});
    const url = `${endpoint}${path}${query === "" ? "" : `?${query}`}`;
    const body = options.json === undefined ? options.body : JSON.stringify(options.json);
    const signed = this.#sign(route.method, path, query);
    const answer = await this.#fetch(url, {
      method: route.method,
      headers: { ...options.headers, ...signed },
      ...(body !== undefined && { body }),
      ...(body instanceof ReadableStream && { duplex: "half" }),
    });
    return succeeded(answer);
  }

  async #direct(url: string, init: RequestInit): Promise<Response> {
    return succeeded(await this.#fetch(url, init));
  }

  /** Signature V4 of a request whose body is not covered. */
  #sign(method: string, path: string, query: string): Record<string, string> {
    const { accessKeyId, secretAccessKey, region = "us-east-1", endpoint } = this.#options;
    const time = new Date().toISOString().replaceAll(/[-:]|\.\d+/gu, "");
    const date = time.slice(0, 8);
    const payload = "UNSIGNED-PAYLOAD";
    const names = "host;x-amz-content-sha256;x-amz-date";
    const { host } = new URL(endpoint);
    const headers = `host:${host}\nx-amz-content-sha256:${payload}\nx-amz-date:${time}\n`;
    const canonical = [method, path, query, headers, names, payload].join("\n");
    const scope = `${date}/${region}/s3/aws4_request`;
    const toSign = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${toHex(sha256(encoder.encode(canonical)))}`;
    let key: Uint8Array = encoder.encode(`AWS4${secretAccessKey}`);
    for (const step of [date, region, "s3", "aws4_request", toSign]) {
      key = hmac(sha256, key, encoder.encode(step));
    }
    return {
      "x-amz-content-sha256": payload,
      "x-amz-date": time,
      authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${toHex(key)}`,
    };
  }
}

const encoder = new TextEncoder();

/** Whether every pointer of every block is at its block's newest version. */
export function isConverged({ chain }: Pick<LookupReply, "chain">): boolean {
  const body = chain.entries[0]?.body;
  return (
    body?.kind !== "blocks" ||
    body.blocks.every(({ replicas }) =>
      replicas.every(({ version }) => version === replicas[0]!.version),
    )
  );
}

function canonicalQuery(query: Readonly<Record<string, string | undefined>>): string {
  const encode = (text: string): string =>
    encodeURIComponent(text).replaceAll(
      /[!'()*]/gu,
      (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
    );
  return Object.entries(query)
    .flatMap(([name, value]) => (value === undefined ? [] : [`${encode(name)}=${encode(value)}`]))
    .toSorted((a, b) => (a < b ? -1 : 1))
    .join("&");
}

/** What a failed HEAD most likely means: its answer has no body. */
const CODE_OF_STATUS: Readonly<Record<number, ErrorCode>> = {
  403: "AccessDenied",
  404: "NoSuchKey",
  412: "PreconditionFailed",
  416: "InvalidRange",
  503: "Unavailable",
};

/** The answer when it is a success, 304 too. Throws RingstowError. */
async function succeeded(answer: Response): Promise<Response> {
  if (answer.ok || answer.status === 304) return answer;
  const text = await answer.text();
  if (text === "") {
    const code = CODE_OF_STATUS[answer.status] ?? "Internal";
    throw new RingstowError(code, `The answer has status ${answer.status} and no text`);
  }
  const { code, message, details } = readFailure(answer.status, text);
  if (isErrorCode(code)) throw new RingstowError(code, message, details);
  throw new RingstowError("Internal", `${code}: ${message}`, details);
}

// A node that a client comes to directly knows no request id.
const failureSchema = z.extend(nativeErrorSchema, { requestId: z.optional(z.string()) });

function readFailure(status: number, text: string): z.infer<typeof failureSchema> {
  try {
    return failureSchema.parse(JSON.parse(text));
  } catch {
    throw new RingstowError("Internal", `Cannot read an answer with status ${status}: ${text}`);
  }
}
