// A gateway over the in-memory double, and a client that signs with AWS's own signer.
import { type NodeService } from "../../../shared/object-protocol.ts";
import { Sha256 } from "@aws-crypto/sha256-js";
import { SignatureV4 } from "@smithy/signature-v4";
import { randomBytes } from "node:crypto";
import { createGateway, type GatewayConfig } from "../../../gateway/app.ts";
import { type Platform } from "../../../gateway/platform.ts";
import { percentDecode, strictEncode } from "../../../gateway/s3/target.ts";
import { parseRequestId } from "../../../shared/ids.ts";
import { type ByteStream } from "../../../shared/object-service.ts";
import { MemoryObjects } from "./memory-objects.ts";
import { OWN_BUCKETS } from "./own-buckets.ts";

export const REGION = "ring-1";
export const HOST = "s3.example.test";
export const HOP_SECRET = new Uint8Array(32).fill(9);
export const KEYS = {
  alice: { secretAccessKey: "alice-secret", grants: OWN_BUCKETS },
  bob: { secretAccessKey: "bob-secret", grants: OWN_BUCKETS },
} as const;

export interface SendOptions {
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
  readonly as?: keyof typeof KEYS;
  /** Sends without a signature. */
  readonly anonymous?: boolean;
  readonly signingDate?: Date;
}

/** Parts of a raw target as the signer wants them. */
export function splitTarget(target: string): {
  path: string;
  query: Record<string, string | string[]>;
} {
  const [path, search = ""] = target.split(/\?(.*)/su) as [string, string?];
  const query: Record<string, string | string[]> = {};
  for (const piece of search === "" ? [] : search.split("&")) {
    const [name, value = ""] = piece.split(/=(.*)/su).map(decodeURIComponent) as [string, string?];
    const known = query[name];
    query[name] = known === undefined ? value : [known, value].flat();
  }
  return { path, query };
}

export function signerFor(as: keyof typeof KEYS, region = REGION): SignatureV4 {
  return new SignatureV4({
    credentials: { accessKeyId: as, secretAccessKey: KEYS[as].secretAccessKey },
    region,
    service: "s3",
    sha256: Sha256,
    uriEscapePath: false,
    applyChecksum: true,
  });
}

export class TestGateway {
  readonly store = new MemoryObjects();
  nowMs = Date.UTC(2026, 10, 22, 12, 0, 0);
  readonly faults: unknown[] = [];
  readonly bodiesRead: string[] = [];
  readonly #app;

  /** @param more calls of a node that the double of the store does not have */
  constructor(config: Partial<GatewayConfig> = {}, more: Partial<NodeService> = {}) {
    this.#app = createGateway({
      config: {
        region: REGION,
        credentials: (id) => (Object.hasOwn(KEYS, id) ? KEYS[id as "alice"] : undefined),
        trustForwarded: false,
        tokenSecret: new Uint8Array(32).fill(7),
        hopSecret: HOP_SECRET,
        ...config,
      },
      platform: this.#platform(),
      // S3 calls nothing else of a node.
      upstream: { service: () => ({ ...this.store.service(), ...more }) as unknown as NodeService },
    });
  }

  #platform(): Platform {
    return {
      clientIp: () => "127.0.0.1",
      position: () => undefined,
      rawTarget: (c) => (c.env as { target: string }).target,
      requestBody: (c) => {
        this.bodiesRead.push(c.req.path);
        return (c.req.raw.body ?? (async function* () {})()) as ByteStream;
      },
      wallMs: () => this.nowMs,
      randomId: () => parseRequestId(randomBytes(16).toString("hex")),
      toResponseBody: (stream) => streamOf(stream),
      reportFault: (error) => this.faults.push(error),
    };
  }

  /** Signs and sends. The target goes out exactly as it is written. */
  async send(method: string, target: string, options: SendOptions = {}): Promise<Response> {
    const { body, as = "alice" } = options;
    const headers: Record<string, string> = { host: HOST, ...options.headers };
    if (method === "PUT" || method === "POST") {
      headers["content-length"] ??= String(Buffer.byteLength(body ?? ""));
    }
    let sent = headers;
    if (!options.anonymous) {
      const { path: sentPath, query } = splitTarget(target);
      // Clients sign the strictly encoded path, however loosely they write it on the wire.
      const path = strictEncode(percentDecode(sentPath), true);
      const request = { method, protocol: "http:", hostname: HOST, path, query, headers, body };
      const signingDate = options.signingDate ?? new Date(this.nowMs);
      const signed = (await signerFor(as).sign(request as never, { signingDate })) as unknown;
      sent = (signed as { headers: Record<string, string> }).headers;
    }
    return this.raw(method, target, sent, body);
  }

  /** Sends what is given, signed or not. */
  async raw(
    method: string,
    target: string,
    headers: Record<string, string>,
    body?: string | Uint8Array | ReadableStream,
  ): Promise<Response> {
    const init: RequestInit = { method, headers };
    if (body !== undefined && method !== "GET" && method !== "HEAD") {
      // Bytes, because a string would bring its own Content-Type.
      init.body = (typeof body === "string" ? new TextEncoder().encode(body) : body) as BodyInit;
      (init as { duplex?: string }).duplex = "half";
    }
    return this.#app.request(`http://${HOST}/x`, init, { target });
  }

  /** Presigns a target. */
  async presign(
    method: string,
    target: string,
    options: {
      expiresIn?: number;
      as?: keyof typeof KEYS;
      signingDate?: Date;
      headers?: Record<string, string>;
    } = {},
  ): Promise<string> {
    const { path, query } = splitTarget(target);
    const headers = {
      host: HOST,
      "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
      ...options.headers,
    };
    const signed = await signerFor(options.as ?? "alice").presign(
      { method, protocol: "http:", hostname: HOST, path, query, headers },
      {
        expiresIn: options.expiresIn ?? 3600,
        signingDate: options.signingDate ?? new Date(this.nowMs),
      },
    );
    const search = Object.entries(signed.query ?? {})
      .flatMap(([name, values]) => [values].flat().map((value) => [name, value ?? ""]))
      .map(([name, value]) => `${encodeURIComponent(name!)}=${encodeURIComponent(value!)}`)
      .join("&");
    return `${path}?${search}`;
  }
}

function streamOf(stream: ByteStream): ReadableStream<Uint8Array> {
  const iterator = stream[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}

/** Text between the first `<name>` and `</name>`. */
export function xmlText(xml: string, name: string): string | undefined {
  return new RegExp(`<${name}(?: [^>]*)?>([^<]*)</${name}>`, "u").exec(xml)?.[1];
}

/** Texts of all `<name>` elements. */
export function xmlTexts(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, "gu"))].map(
    (match) => match[1]!,
  );
}
