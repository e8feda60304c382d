// What every gateway must answer alike, whatever it runs on: one walk through S3 by the SDK and by plain requests. Gives
// a transcript without ids and dates, to be compared.
import {
  AbortMultipartUploadCommand,
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
  S3ServiceException,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { SignatureV4 } from "@smithy/signature-v4";
import { Sha256 } from "@aws-crypto/sha256-js";
import { gzipSync } from "node:zlib";
import { type DevFile } from "./dev-cluster.ts";
import { send } from "./raw-request.ts";
import { sdkClient } from "./sdk.ts";

const MiB = 1024 * 1024;
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Bytes that no compression or deduplication makes small, the same in every run. */
export function patterned(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 0x9e3779b9;
  for (let at = 0; at + 4 <= length; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes.writeUInt32LE(state, at);
  }
  return bytes;
}

/** Headers whose value differs from answer to answer, or that belong to the connection. */
const PASSING = new Set([
  "date",
  "x-amz-request-id",
  "last-modified",
  "connection",
  "keep-alive",
  "transfer-encoding",
  "location",
]);

/** Whoever asks for gzip may get it from the edge platform, which then drops the length. */
const IDENTITY = { "accept-encoding": "identity" };

function shown(headers: Headers): Record<string, string> {
  return Object.fromEntries([...headers].filter(([name]) => !PASSING.has(name)));
}

/** Answers in the order of the steps. `prefix` keeps two walks on one bucket apart; it does not show. */
export async function smoke(dev: DevFile, prefix: string): Promise<readonly unknown[]> {
  const walk = new Walk(dev, prefix);
  await walk.small();
  await walk.headers();
  await walk.conditions();
  await walk.large();
  await walk.presigned();
  await walk.refused();
  return walk.transcript;
}

class Walk {
  readonly transcript: unknown[] = [];
  readonly #client: S3Client;
  readonly #dev: DevFile;
  readonly #prefix: string;

  constructor(dev: DevFile, prefix: string) {
    this.#client = sdkClient(dev);
    this.#dev = dev;
    this.#prefix = prefix;
  }

  #at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#dev.bucket, Key: this.#prefix + key };
  }

  /** Notes what a step gave: its answer, or the error that the client saw. */
  async #step(name: string, work: () => Promise<unknown>): Promise<void> {
    try {
      this.transcript.push({ name, answer: await work() });
    } catch (error) {
      if (!(error instanceof S3ServiceException)) throw error;
      const { message, $metadata } = error;
      const status = $metadata.httpStatusCode;
      this.transcript.push({ name, error: error.name, message, status });
    }
  }

  async small(): Promise<void> {
    const client = this.#client;
    const described = { ContentType: "text/plain", Metadata: { colour: "blue" } };
    for (const key of ["plain", "with space", "plus+and%2Fpercent", "ünï/✓ 😀", "empty"]) {
      const body = key === "empty" ? "" : `body of ${key}`;
      await this.#step(`put ${key}`, async () => {
        const put = await client.send(
          new PutObjectCommand({ ...this.#at(key), Body: body, ...described }),
        );
        return [put.ETag, put.ChecksumCRC32];
      });
      await this.#step(`get ${key}`, async () => {
        const got = await client.send(new GetObjectCommand(this.#at(key)));
        const { ETag, ContentLength, ContentType, Metadata } = got;
        return [ETag, ContentLength, ContentType, Metadata, await got.Body!.transformToString()];
      });
      await this.#step(`head ${key}`, async () => {
        const head = await client.send(new HeadObjectCommand(this.#at(key)));
        return [head.ETag, head.ContentLength, head.ContentType, head.Metadata];
      });
    }
    for (const Range of ["bytes=2-5", "bytes=-3", "bytes=5-", "bytes=0-999", "bytes=999-"]) {
      await this.#step(`range ${Range}`, async () => {
        const got = await client.send(new GetObjectCommand({ ...this.#at("plain"), Range }));
        const text = await got.Body!.transformToString();
        return [got.$metadata.httpStatusCode, got.ContentRange, got.ContentLength, text];
      });
    }
    await this.#step("encoded", async () => {
      const body = { Body: "not really gzip", ContentEncoding: "gzip", CacheControl: "no-cache" };
      await client.send(new PutObjectCommand({ ...this.#at("encoded"), ...body }));
      const head = await client.send(new HeadObjectCommand(this.#at("encoded")));
      return [head.ContentEncoding, head.CacheControl, head.ContentLength];
    });
    await this.#step("list", async () => {
      const { Contents, CommonPrefixes, KeyCount } = await client.send(
        new ListObjectsV2Command({
          Bucket: this.#dev.bucket,
          Prefix: this.#prefix,
          Delimiter: "/",
        }),
      );
      const name = (text: string | undefined): string => text!.slice(this.#prefix.length);
      const rows = Contents!.map(({ Key, Size, ETag }) => [name(Key), Size, ETag]);
      return [KeyCount, rows, CommonPrefixes!.map(({ Prefix }) => name(Prefix))];
    });
    await this.#step("buckets", async () => {
      const { Buckets } = await client.send(new ListBucketsCommand({}));
      await client.send(new HeadBucketCommand({ Bucket: this.#dev.bucket }));
      return Buckets!.map(({ Name }) => Name);
    });
    await this.#step("copy", async () => {
      const { Bucket, Key } = this.#at("with space");
      const CopySource = `${Bucket}/${encodeURIComponent(Key)}`;
      const copy = await client.send(new CopyObjectCommand({ ...this.#at("copy"), CopySource }));
      return copy.CopyObjectResult!.ETag;
    });
  }

  /** What runtimes like to change on its way: compressed bodies, headers that are no ASCII, Accept-Encoding. */
  async headers(): Promise<void> {
    await this.#step("compressed", async () => {
      const Body = gzipSync("what is compressed once must be so once ".repeat(100));
      await this.#client.send(
        new PutObjectCommand({ ...this.#at("compressed"), Body, ContentEncoding: "gzip" }),
      );
      const got = await this.#client.send(new GetObjectCommand(this.#at("compressed")));
      const same = Body.equals(await got.Body!.transformToByteArray());
      return [got.ContentEncoding, got.ContentLength === Body.length, same];
    });
    const { Bucket, Key } = this.#at("utf-8");
    const path = `/${Bucket}/${Key}`;
    const text = "déjà là: à la carte";
    const put = await send(this.#dev, {
      method: "PUT",
      path,
      body: "x",
      headers: { "x-amz-meta-a": text, "accept-encoding": "identity" },
    });
    const head = await send(this.#dev, {
      method: "HEAD",
      path,
      headers: { "accept-encoding": "gzip, deflate" },
    });
    const stored = Buffer.from(String(head.headers["x-amz-meta-a"]), "latin1").toString("utf8");
    const answer = [put.status, put.code, head.status, stored === text];
    this.transcript.push({ name: "metadata in UTF-8, a signed Accept-Encoding", answer });
  }

  async conditions(): Promise<void> {
    const client = this.#client;
    const put = (name: string, more: Partial<PutObjectCommand["input"]>): Promise<void> =>
      this.#step(name, async () => {
        const command = new PutObjectCommand({ ...this.#at("conditional"), Body: name, ...more });
        return (await client.send(command)).ETag;
      });
    await put("made once", { IfNoneMatch: "*" });
    await put("made twice", { IfNoneMatch: "*" });
    await put("of another", { IfMatch: '"00000000000000000000000000000000"' });
    await this.#step("not modified", async () => {
      const head = await client.send(new HeadObjectCommand(this.#at("conditional")));
      const again = { ...this.#at("conditional"), IfNoneMatch: head.ETag! };
      return (await client.send(new GetObjectCommand(again))).ETag;
    });
    await this.#step("delete", async () => {
      const gone = await client.send(new DeleteObjectCommand(this.#at("conditional")));
      return gone.$metadata.httpStatusCode;
    });
    await this.#step("deleted", () => client.send(new GetObjectCommand(this.#at("conditional"))));
  }

  async large(): Promise<void> {
    const client = this.#client;
    const bytes = patterned(64 * MiB);
    await this.#step("multipart", async () => {
      const body = Readable.from(pieces(bytes));
      const upload = new Upload({
        client,
        params: { ...this.#at("large"), Body: body },
        partSize: 8 * MiB,
      });
      return (await upload.done()).ETag;
    });
    await this.#step("get large", async () => {
      const got = await client.send(new GetObjectCommand(this.#at("large")));
      const all = await got.Body!.transformToByteArray();
      return [got.ContentLength, sha256(all) === sha256(bytes)];
    });
    await this.#step("part of large", async () => {
      const part = await client.send(new GetObjectCommand({ ...this.#at("large"), PartNumber: 3 }));
      const all = await part.Body!.transformToByteArray();
      return [part.$metadata.httpStatusCode, part.PartsCount, all.length, sha256(all)];
    });
    await this.#step("put of 20 MiB", async () => {
      const Body = bytes.subarray(0, 20 * MiB);
      return (await client.send(new PutObjectCommand({ ...this.#at("large-2"), Body }))).ETag;
    });
    await this.#step("no such upload", () =>
      client.send(
        new AbortMultipartUploadCommand({ ...this.#at("large"), UploadId: "0".repeat(32) }),
      ),
    );
    await this.#step("delete many", async () => {
      const Objects = ["large", "large-2", "copy", "never"].map((key) => ({
        Key: this.#at(key).Key,
      }));
      const done = await client.send(
        new DeleteObjectsCommand({ Bucket: this.#dev.bucket, Delete: { Objects } }),
      );
      return [done.Deleted!.length, done.Errors ?? []];
    });
  }

  async presigned(): Promise<void> {
    const put = await this.#presign("PUT", "presigned", {});
    const sent = await fetch(put, { method: "PUT", body: "by a link", headers: IDENTITY });
    this.transcript.push({
      name: "presigned put",
      status: sent.status,
      headers: shown(sent.headers),
    });
    const query = { "response-content-type": "text/x-test" };
    const got = await fetch(await this.#presign("GET", "presigned", query), {
      headers: IDENTITY,
    });
    const answer = [got.status, shown(got.headers), await got.text()];
    this.transcript.push({ name: "presigned get", answer });
    const head = await fetch(await this.#presign("HEAD", "presigned", {}), {
      method: "HEAD",
      headers: IDENTITY,
    });
    this.transcript.push({ name: "presigned head", answer: [head.status, shown(head.headers)] });
    const forged = (await this.#presign("GET", "presigned", {})).replace(/.$/u, (last) =>
      last === "0" ? "1" : "0",
    );
    const refused = await fetch(forged);
    const code = /<Code>(\w+)<\/Code>/u.exec(await refused.text())?.[1];
    this.transcript.push({ name: "forged", answer: [refused.status, code] });
  }

  async refused(): Promise<void> {
    const client = this.#client;
    const Bucket = "no-such-bucket";
    await this.#step("no bucket", () =>
      client.send(new PutObjectCommand({ Bucket, Key: "k", Body: "x" })),
    );
    await this.#step("no key", () => client.send(new GetObjectCommand(this.#at("never"))));
    const anonymous = await fetch(`${this.#dev.endpoint}/${this.#dev.bucket}/plain`);
    const text = await anonymous.text();
    const named = [/<Code>(\w+)<\/Code>/u.exec(text)?.[1], anonymous.headers.get("content-type")];
    this.transcript.push({ name: "anonymous", answer: [anonymous.status, ...named] });
  }

  async #presign(method: string, key: string, query: Record<string, string>): Promise<string> {
    const { endpoint, region, accessKeyId, secretAccessKey } = this.#dev;
    const signer = new SignatureV4({
      credentials: { accessKeyId, secretAccessKey },
      region,
      service: "s3",
      sha256: Sha256,
      uriEscapePath: false,
    });
    const { host, hostname, port, protocol } = new URL(endpoint);
    const { Bucket, Key } = this.#at(key);
    const signed = await signer.presign({
      method,
      protocol,
      hostname,
      port: Number(port),
      path: `/${Bucket}/${Key}`,
      query,
      headers: { host, "x-amz-content-sha256": "UNSIGNED-PAYLOAD" },
    });
    const search = new URLSearchParams(signed.query as Record<string, string>);
    return `${endpoint}${signed.path}?${search.toString().replaceAll("+", "%20")}`;
  }
}

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += MiB) yield bytes.subarray(at, at + MiB);
}
