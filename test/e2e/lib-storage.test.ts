// Upload of @aws-sdk/lib-storage with its defaults (checksums in trailers) against a cluster as a user starts it.
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DevCluster, until } from "./dev-cluster.ts";
import { MiB } from "./sample-files.ts";
import { sdkClient } from "./sdk.ts";

let cluster: DevCluster;
let s3: S3Client;

beforeAll(async () => {
  cluster = await DevCluster.start();
  s3 = sdkClient(cluster.dev);
});
afterAll(async () => {
  s3?.destroy();
  await cluster?.remove();
});

const content = randomBytes(22 * MiB + 7);
const read = async (Key: string): Promise<Buffer> => {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: "demo", Key }));
  return Buffer.from(await Body!.transformToByteArray());
};

/** A stream that does not tell its length, in pieces that fit no part. */
function* pieces(): Generator<Buffer> {
  for (let at = 0; at < content.length; at += 777_777) yield content.subarray(at, at + 777_777);
}

test("Upload sends a stream of unknown length in parallel parts and it comes back equal", async () => {
  const params = { Bucket: "demo", Key: "streamed", Body: Readable.from(pieces()) };
  const done = await new Upload({ client: s3, params, queueSize: 4, partSize: 5 * MiB }).done();
  expect(done.ETag).toMatch(/^"[0-9a-f]{32}-5"$/u);
  expect((await read("streamed")).equals(content)).toBe(true);
  const head = await s3.send(
    new HeadObjectCommand({ Bucket: "demo", Key: "streamed", ChecksumMode: "ENABLED" }),
  );
  expect(head).toMatchObject({ ContentLength: content.length });
  expect(head.ChecksumCRC32).toBe(done.ChecksumCRC32);
  expect(head.ChecksumCRC32).toEqual(expect.any(String));
});

test("Upload of a short stream is one PutObject", async () => {
  const params = { Bucket: "demo", Key: "short", Body: Readable.from([Buffer.from("short")]) };
  await new Upload({ client: s3, params }).done();
  expect((await read("short")).toString()).toBe("short");
});

test("Upload.abort leaves no object and no parts", async () => {
  let sent = 0;
  const params = { Bucket: "demo", Key: "aborted", Body: Readable.from(pieces()) };
  const upload = new Upload({ client: s3, params, queueSize: 2, partSize: 5 * MiB });
  upload.on("httpUploadProgress", () => {
    if (++sent === 2) void upload.abort();
  });
  await expect(upload.done()).rejects.toMatchObject({ name: "AbortError" });
  expect(sent).toBeGreaterThanOrEqual(2);
  // done() rejects at once; the parts in flight end and AbortMultipartUpload follows behind it.
  await until("the upload to be gone", async () => {
    const left = await s3.send(new ListMultipartUploadsCommand({ Bucket: "demo" }));
    return left.Uploads === undefined ? true : undefined;
  });
  await expect(read("aborted")).rejects.toMatchObject({ name: "NoSuchKey" });
});
