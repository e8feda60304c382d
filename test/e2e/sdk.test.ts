// @aws-sdk/client-s3 with its defaults against a cluster as a user starts it.
import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListMultipartUploadsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevCluster } from "./dev-cluster.ts";
import { sdkClient } from "./sdk.ts";

const MiB = 1024 * 1024;
let cluster: DevCluster;
let s3: S3Client;
const Bucket = "demo";

beforeAll(async () => {
  cluster = await DevCluster.start();
  s3 = sdkClient(cluster.dev);
});
afterAll(async () => {
  s3?.destroy();
  await cluster?.remove();
});

const etagOf = (bytes: Uint8Array): string => `"${createHash("md5").update(bytes).digest("hex")}"`;
const get = async (Key: string): Promise<Buffer> => {
  const answer = await s3.send(new GetObjectCommand({ Bucket, Key }));
  return Buffer.from(await answer.Body!.transformToByteArray());
};

describe("objects", () => {
  test.each([0, 1, 16 * 1024, 16 * 1024 + 1, 5 * MiB, 70 * MiB])(
    "a buffer of %i bytes comes back equal",
    async (size) => {
      const body = randomBytes(size);
      const put = await s3.send(
        new PutObjectCommand({ Bucket, Key: `buffer/${size}`, Body: body }),
      );
      expect(put.ETag).toBe(etagOf(body));
      expect((await get(`buffer/${size}`)).equals(body)).toBe(true);
    },
  );

  test("a stream of known length comes back equal", async () => {
    const body = randomBytes(9 * MiB + 17);
    await s3.send(
      new PutObjectCommand({
        Bucket,
        Key: "stream",
        Body: Readable.from(chunks(body)),
        ContentLength: body.length,
      }),
    );
    expect((await get("stream")).equals(body)).toBe(true);
  });

  test("metadata and content headers come back", async () => {
    await s3.send(
      new PutObjectCommand({
        Bucket,
        Key: "described",
        Body: "x",
        ContentType: "text/x-test",
        CacheControl: "max-age=5",
        ContentDisposition: "inline",
        ContentLanguage: "en",
        Metadata: { colour: "green", shape: "round" },
      }),
    );
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: "described" }));
    expect(head).toMatchObject({
      ContentType: "text/x-test",
      CacheControl: "max-age=5",
      ContentDisposition: "inline",
      ContentLanguage: "en",
      ContentLength: 1,
      Metadata: { colour: "green", shape: "round" },
    });
  });

  test.each([
    ["bytes=0-0", 0, 1],
    ["bytes=100-70000", 100, 70001],
    ["bytes=-10", 3 * MiB - 10, 3 * MiB],
    [`bytes=${3 * MiB - 1}-`, 3 * MiB - 1, 3 * MiB],
    ["bytes=131071-131072", 131071, 131073],
  ])("range %s", async (Range, from, to) => {
    const body = randomBytes(3 * MiB);
    await s3.send(new PutObjectCommand({ Bucket, Key: "ranges", Body: body }));
    const answer = await s3.send(new GetObjectCommand({ Bucket, Key: "ranges", Range }));
    expect(answer.ContentRange).toBe(`bytes ${from}-${to - 1}/${3 * MiB}`);
    expect(
      Buffer.from(await answer.Body!.transformToByteArray()).equals(body.subarray(from, to)),
    ).toBe(true);
  });

  test("conditional writes: If-None-Match and If-Match", async () => {
    const Key = "conditional";
    await s3.send(new PutObjectCommand({ Bucket, Key, Body: "1", IfNoneMatch: "*" }));
    await expect(
      s3.send(new PutObjectCommand({ Bucket, Key, Body: "2", IfNoneMatch: "*" })),
    ).rejects.toMatchObject({
      name: "PreconditionFailed",
    });
    const { ETag } = await s3.send(new HeadObjectCommand({ Bucket, Key }));
    await s3.send(new PutObjectCommand({ Bucket, Key, Body: "3", IfMatch: ETag }));
    await expect(
      s3.send(new PutObjectCommand({ Bucket, Key, Body: "4", IfMatch: ETag })),
    ).rejects.toMatchObject({
      name: "PreconditionFailed",
    });
    await expect(
      s3.send(new PutObjectCommand({ Bucket, Key: "nowhere", Body: "4", IfMatch: ETag })),
    ).rejects.toMatchObject({ name: "NoSuchKey" });
    expect((await get(Key)).toString()).toBe("3");
  });

  test("conditional reads: 304 and 412", async () => {
    const { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key: "read-if", Body: "x" }));
    await expect(
      s3.send(new GetObjectCommand({ Bucket, Key: "read-if", IfNoneMatch: ETag })),
    ).rejects.toMatchObject({ $metadata: { httpStatusCode: 304 } });
    await expect(
      s3.send(new GetObjectCommand({ Bucket, Key: "read-if", IfMatch: '"other"' })),
    ).rejects.toMatchObject({ $metadata: { httpStatusCode: 412 } });
  });

  test("delete, then the key is gone; deleting again succeeds", async () => {
    await s3.send(new PutObjectCommand({ Bucket, Key: "gone", Body: "x" }));
    await s3.send(new DeleteObjectCommand({ Bucket, Key: "gone" }));
    await s3.send(new DeleteObjectCommand({ Bucket, Key: "gone" }));
    await expect(get("gone")).rejects.toMatchObject({ name: "NoSuchKey" });
  });

  test("names that need care come back as they were", async () => {
    const names = [
      "a b+c",
      "ünï/cødé",
      "日本/語",
      "😀",
      "per%cent",
      "q?&=#",
      "a//b",
      "(x)!*'",
      "007",
      "true",
    ];
    for (const Key of names)
      await s3.send(new PutObjectCommand({ Bucket, Key: `names/${Key}`, Body: Key }));
    for (const Key of names) expect((await get(`names/${Key}`)).toString()).toBe(Key);
    const listed = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: "names/" }));
    const keys = listed.Contents!.map((one) => one.Key!.slice(6));
    expect(keys).toEqual(names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
  });
});

describe("listing", () => {
  test("pages, prefixes and delimiters agree in both versions; DeleteObjects empties", async () => {
    const names = Array.from(
      { length: 250 },
      (_, i) => `list/${i % 10}/${String(i).padStart(3, "0")}`,
    );
    await Promise.all(
      names.map((Key) => s3.send(new PutObjectCommand({ Bucket, Key, Body: Key }))),
    );
    const found: string[] = [];
    let ContinuationToken: string | undefined;
    do {
      const page = await s3.send(
        new ListObjectsV2Command({ Bucket, Prefix: "list/", MaxKeys: 33, ContinuationToken }),
      );
      found.push(...page.Contents!.map((one) => one.Key!));
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken);
    expect(found).toEqual(names.toSorted());
    const grouped = await s3.send(
      new ListObjectsV2Command({ Bucket, Prefix: "list/", Delimiter: "/", MaxKeys: 4 }),
    );
    expect(grouped.CommonPrefixes!.map((one) => one.Prefix)).toEqual([
      "list/0/",
      "list/1/",
      "list/2/",
      "list/3/",
    ]);
    expect(grouped).toMatchObject({ IsTruncated: true, KeyCount: 4 });
    const old = await s3.send(
      new ListObjectsCommand({ Bucket, Prefix: "list/", Delimiter: "/", Marker: "list/7/" }),
    );
    expect(old.CommonPrefixes!.map((one) => one.Prefix)).toEqual(["list/8/", "list/9/"]);
    const deleted = await s3.send(
      new DeleteObjectsCommand({ Bucket, Delete: { Objects: names.map((Key) => ({ Key })) } }),
    );
    expect(deleted.Deleted).toHaveLength(names.length);
    const left = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: "list/" }));
    expect(left.KeyCount).toBe(0);
  });
});

describe("multipart", () => {
  test("create, parts, list, complete; parts sent again replace; abort forgets", async () => {
    const Key = "multipart";
    const parts = [randomBytes(5 * MiB), randomBytes(6 * MiB), randomBytes(123)];
    const { UploadId } = await s3.send(
      new CreateMultipartUploadCommand({ Bucket, Key, ContentType: "x/y", Metadata: { a: "b" } }),
    );
    await s3.send(
      new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 2, Body: randomBytes(100) }),
    );
    const done = await Promise.all(
      parts.map(async (Body, i) => {
        const PartNumber = i + 1;
        const { ETag } = await s3.send(
          new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }),
        );
        return { PartNumber, ETag };
      }),
    );
    const listed = await s3.send(new ListPartsCommand({ Bucket, Key, UploadId }));
    expect(listed.Parts!.map((part) => part.Size)).toEqual(parts.map((part) => part.length));
    const uploads = await s3.send(new ListMultipartUploadsCommand({ Bucket }));
    expect(uploads.Uploads).toMatchObject([{ Key, UploadId }]);
    const complete = await s3.send(
      new CompleteMultipartUploadCommand({
        Bucket,
        Key,
        UploadId,
        MultipartUpload: { Parts: done },
      }),
    );
    expect(complete.ETag).toMatch(/-3"$/u);
    const whole = Buffer.concat(parts);
    expect((await get(Key)).equals(whole)).toBe(true);
    const second = await s3.send(new GetObjectCommand({ Bucket, Key, PartNumber: 2 }));
    expect(second.PartsCount).toBe(3);
    expect(Buffer.from(await second.Body!.transformToByteArray()).equals(parts[1]!)).toBe(true);
    const other = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: "aborted" }));
    await s3.send(
      new AbortMultipartUploadCommand({ Bucket, Key: "aborted", UploadId: other.UploadId }),
    );
    await expect(
      s3.send(
        new UploadPartCommand({
          Bucket,
          Key: "aborted",
          UploadId: other.UploadId,
          PartNumber: 1,
          Body: "x",
        }),
      ),
    ).rejects.toMatchObject({ name: "NoSuchUpload" });
  });
});

describe("buckets", () => {
  test("create, list, refuse to delete while full, delete", async () => {
    const name = "second-bucket";
    await s3.send(new CreateBucketCommand({ Bucket: name }));
    const { Buckets } = await s3.send(new ListBucketsCommand({}));
    expect(Buckets!.map((one) => one.Name)).toEqual(["demo", name]);
    await s3.send(new PutObjectCommand({ Bucket: name, Key: "k", Body: "x" }));
    await expect(s3.send(new DeleteBucketCommand({ Bucket: name }))).rejects.toMatchObject({
      name: "BucketNotEmpty",
    });
    await s3.send(new DeleteObjectCommand({ Bucket: name, Key: "k" }));
    await s3.send(new DeleteBucketCommand({ Bucket: name }));
    await expect(s3.send(new ListObjectsV2Command({ Bucket: name }))).rejects.toMatchObject({
      name: "NoSuchBucket",
    });
  });
});

function* chunks(body: Buffer): Generator<Buffer> {
  for (let at = 0; at < body.length; at += 65_536) yield body.subarray(at, at + 65_536);
}
