// The S3 gateway as a Hono app: one handler for every request. It reads the raw target, finds the operation, checks
// the signature, and calls the operation's handler; whatever is thrown becomes one XML error.
import { type Context, Hono } from "hono";
import { bucketCacheMax } from "../shared/limits.ts";
import { type Bucket } from "../shared/records.ts";
import { type Authenticated, Authenticator } from "./auth/sigv4.ts";
import { NATIVE_CALLS, nativeAnswer } from "./native/calls.ts";
import { nativeDocument } from "./native/documents.ts";
import { nativeFailure } from "./native/failure.ts";
import { isNativePath, nativeTarget } from "./native/native-route.ts";
import { type Platform, type Upstream } from "./platform.ts";
import { isBucketName } from "./s3/bucket-name.ts";
import { RecordCache } from "./record-cache.ts";
import { LineHeaders, type RequestHeaders } from "./request-headers.ts";
import * as buckets from "./s3/buckets.ts";
import { Call, type CallParts, type GatewayConfig } from "./s3/call.ts";
import { getObjectAttributes } from "./s3/attributes.ts";
import { copyObject, uploadPartCopy } from "./s3/copy.ts";
import { deleteObjects } from "./s3/delete-objects.ts";
import { errorResponse, isFault, S3Error, toS3Error } from "./s3/errors.ts";
import { checkKey } from "./s3/headers.ts";
import { listObjects, listObjectsV2 } from "./s3/listing.ts";
import * as multipart from "./s3/multipart.ts";
import * as objects from "./s3/objects.ts";
import { type Operation, bucketOfHost, routeRequest } from "./s3/operation.ts";
import { parseTarget, type Target } from "./s3/target.ts";

export { type GatewayConfig } from "./s3/call.ts";

export interface GatewayOptions {
  readonly config: GatewayConfig;
  readonly platform: Platform;
  readonly upstream: Upstream;
}

const HANDLERS: Record<Operation, (call: Call) => Promise<Response>> = {
  ListBuckets: buckets.listBuckets,
  CreateBucket: buckets.createBucket,
  HeadBucket: buckets.headBucket,
  DeleteBucket: buckets.deleteBucket,
  GetBucketLocation: buckets.getBucketLocation,
  GetBucketVersioning: buckets.getBucketVersioning,
  GetBucketAcl: buckets.getBucketAcl,
  GetBucketPolicy: buckets.getBucketPolicy,
  GetObjectLockConfiguration: buckets.getObjectLockConfiguration,
  ListObjects: listObjects,
  ListObjectsV2: listObjectsV2,
  ListMultipartUploads: multipart.listMultipartUploads,
  DeleteObjects: deleteObjects,
  GetObject: objects.getObject,
  HeadObject: objects.getObject,
  PutObject: objects.putObject,
  CopyObject: copyObject,
  DeleteObject: objects.deleteObject,
  GetObjectAcl: objects.getObjectAcl,
  GetObjectAttributes: getObjectAttributes,
  CreateMultipartUpload: multipart.createMultipartUpload,
  UploadPart: multipart.uploadPart,
  UploadPartCopy: uploadPartCopy,
  CompleteMultipartUpload: multipart.completeMultipartUpload,
  AbortMultipartUpload: multipart.abortMultipartUpload,
  ListParts: multipart.listParts,
};

/** The gateway. It keeps no state but caches; many can run side by side. */
export function createGateway(options: GatewayOptions): Hono {
  const gateway = new Gateway(options);
  const app = new Hono();
  app.all("*", (c) => gateway.answer(c));
  return app;
}

class Gateway {
  readonly #config: GatewayConfig;
  readonly #platform: Platform;
  readonly #upstream: Upstream;
  readonly #authenticator: Authenticator;
  readonly #buckets: RecordCache<Bucket>;
  /** Host of the public URL, with a port that is not the usual one. */
  readonly #publicHost: string | undefined;
  /** Buckets are its sub-domains; an IP address has none. */
  readonly #domain: string | undefined;

  constructor({ config, platform, upstream }: GatewayOptions) {
    this.#config = config;
    this.#platform = platform;
    this.#upstream = upstream;
    this.#buckets = new RecordCache({
      max: bucketCacheMax,
      wallMs: () => platform.wallMs(),
      reportFault: (error) => this.#report(error, "for a bucket's record"),
    });
    this.#authenticator = new Authenticator(config);
    const url = config.publicUrl === undefined ? undefined : new URL(config.publicUrl);
    this.#publicHost = url?.host;
    this.#domain = url && /[a-z]/u.test(url.hostname.split(".").at(-1)!) ? url.hostname : undefined;
  }

  async answer(c: Context): Promise<Response> {
    const responseId = this.#platform.randomId().slice(0, 16).toUpperCase();
    const reportFault = (error: unknown): void => this.#report(error, responseId);
    let resource = "/";
    let isNative = false;
    try {
      const raw = this.#platform.rawTarget(c);
      const asked = parseTarget(raw);
      resource = asked.path;
      const lines = this.#platform.rawHeaders?.(c);
      const headers = lines ? new LineHeaders(lines) : c.req.raw.headers;
      const hosts = this.#hostsOf(headers);
      // Where the host names a bucket, every path is a key of it.
      isNative = isNativePath(asked.path) && bucketOfHost(hosts[0]!, this.#domain) === undefined;
      const document = isNative ? nativeDocument(c.req.method, asked.path) : undefined;
      if (document) return document;
      const native = isNative ? nativeTarget(c.req.method, asked.path, asked.query) : undefined;
      const route =
        native ??
        routeRequest({
          method: c.req.method,
          path: asked.path,
          query: asked.query,
          copySource: headers.has("x-amz-copy-source"),
          host: hosts[0]!,
          domain: this.#domain,
        });
      const { auth, target } = await this.#authenticate(c, headers, raw, asked, hosts);
      if (route.operation !== "ListBuckets" && !isBucketName(route.bucket)) {
        throw new S3Error("InvalidBucketName", undefined, { BucketName: route.bucket });
      }
      checkKey(route.key);
      const ip = this.#platform.clientIp(c);
      const position = this.#platform.position(c);
      const serviceAt: CallParts["serviceAt"] = (point) =>
        this.#upstream.service({ ip, position, point });
      const call = new Call({
        context: c,
        headers,
        config: this.#config,
        platform: this.#platform,
        buckets: this.#buckets,
        serviceAt,
        client: { ip, position },
        target,
        route,
        auth,
        responseId,
        reportFault,
      });
      if (!native) return await HANDLERS[route.operation](call);
      return nativeAnswer(call, native.call, await NATIVE_CALLS[native.call](call));
    } catch (error) {
      if (isFault(error)) reportFault(error);
      const about = { resource, requestId: responseId, head: c.req.method === "HEAD" };
      return isNative ? nativeFailure(error, about) : errorResponse(toS3Error(error), about);
    }
  }

  /** Who asks, and the target as the signature confirms it. */
  async #authenticate(
    c: Context,
    headers: RequestHeaders,
    raw: string,
    target: Target,
    hosts: readonly string[],
  ): Promise<{ auth: Authenticated; target: Target }> {
    const check = (candidate: Target): Promise<Authenticated> =>
      this.#authenticator.authenticate({
        method: c.req.method,
        target: candidate,
        headers,
        rawHeaders: () => this.#platform.rawHeaders?.(c),
        hosts,
        nowMs: this.#platform.wallMs(),
      });
    try {
      return { auth: await check(target), target };
    } catch (error) {
      const mismatch = error instanceof S3Error && error.code === "SignatureDoesNotMatch";
      const query = raw.slice(raw.indexOf("?") + 1);
      if (!mismatch || !raw.includes("?") || !query.includes("+")) throw error;
      // Clients that build URLs with URLSearchParams (aws4fetch) sign a space and send "+".
      const form = parseTarget(raw, "space");
      return { auth: await check(form), target: form };
    }
  }

  /**
   * Names under which the client may have signed, the likeliest first, which is also the one that is routed by. SDKs drop
   * the usual ports, some do not. All name the same bucket, or none: the signature of a path under one host must not
   * open the same path of a bucket that another host names.
   */
  #hostsOf(headers: RequestHeaders): readonly string[] {
    const hosts: string[] = [];
    const add = (host: string | null | undefined): void => {
      if (!host) return;
      if (!hosts.includes(host)) hosts.push(host);
      const bare = host.replace(/:(?:80|443)$/u, "");
      if (!hosts.includes(bare)) hosts.push(bare);
    };
    if (this.#config.trustForwarded) add(headers.get("x-forwarded-host")?.split(",")[0]?.trim());
    add(headers.get("host"));
    add(this.#publicHost);
    const [first = ""] = hosts;
    const bucket = bucketOfHost(first, this.#domain);
    return [first, ...hosts.slice(1).filter((host) => bucketOfHost(host, this.#domain) === bucket)];
  }

  #report(error: unknown, responseId: string): void {
    if (this.#platform.reportFault) this.#platform.reportFault(error, responseId);
    else console.error(`Cannot answer request ${responseId}:`, error);
  }
}
