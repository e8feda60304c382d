// The AWS SDK itself as the client: what it sends must be understood, what it parses must be what was meant.
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  GetBucketAclCommand,
  GetBucketLocationCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  NoSuchKey,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { HOST, KEYS, REGION, TestGateway } from "./test-gateway.ts";

interface SdkRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Record<string, string | string[] | null>;
  readonly headers: Record<string, string>;
  readonly body?: string | Uint8Array;
}

async function connect(): Promise<{ client: S3Client; gateway: TestGateway }> {
  const gateway = new TestGateway();
  gateway.nowMs = Date.now();
  const client = new S3Client({
    region: REGION,
    endpoint: `http://${HOST}`,
    forcePathStyle: true,
    credentials: { accessKeyId: "alice", secretAccessKey: KEYS.alice.secretAccessKey },
    maxAttempts: 1,
    requestHandler: {
      handle: async (request: SdkRequest) => {
        const search = Object.entries(request.query)
          .flatMap(([name, values]) => [values].flat().map((value) => [name, value ?? ""]))
          .map((pair) => pair.map((part) => encodeURIComponent(part)).join("="))
          .join("&");
        const target = search === "" ? request.path : `${request.path}?${search}`;
        const { method, headers, body } = request;
        const response = await gateway.raw(method, target, headers, body);
        return {
          response: {
            statusCode: response.status,
            headers: Object.fromEntries(response.headers),
            body: Readable.from(Buffer.from(await response.arrayBuffer())),
          },
        };
      },
    } as never,
  });
  await client.send(new CreateBucketCommand({ Bucket: "photos" }));
  return { client, gateway };
}

test("the SDK writes, reads, copies, lists and deletes objects with hard names", async () => {
  const { client } = await connect();
  const Bucket = "photos";
  const keys = ["a b/ü+&'()*.txt", "007", "😀", "a//b", "tab\tnewline\n"];
  for (const Key of keys) {
    const body = `body of ${Key}`;
    await client.send(
      new PutObjectCommand({ Bucket, Key, Body: body, Metadata: { n: "1" }, ContentType: "a/b" }),
    );
    const got = await client.send(new GetObjectCommand({ Bucket, Key }));
    expect(await got.Body!.transformToString()).toBe(body);
    expect([got.Metadata, got.ContentType]).toEqual([{ n: "1" }, "a/b"]);
  }
  const page = await client.send(new ListObjectsV2Command({ Bucket, FetchOwner: true }));
  expect(new Set(page.Contents!.map(({ Key }) => Key))).toEqual(new Set(keys));
  expect([page.KeyCount, page.Contents![0]!.Owner!.ID]).toEqual([5, "alice"]);
  const paged = await client.send(new ListObjectsV2Command({ Bucket, MaxKeys: 2 }));
  const rest = await client.send(
    new ListObjectsV2Command({ Bucket, ContinuationToken: paged.NextContinuationToken }),
  );
  expect(rest.Contents).toHaveLength(3);
  const folders = await client.send(new ListObjectsV2Command({ Bucket, Delimiter: "/" }));
  expect(folders.CommonPrefixes!.map(({ Prefix }) => Prefix)).toEqual(["a b/", "a/"]);
  const source = `${Bucket}/${encodeURIComponent(keys[0]!)}`;
  const copy = await client.send(
    new CopyObjectCommand({ Bucket, Key: "copy", CopySource: source }),
  );
  expect(copy.CopyObjectResult!.ETag).toMatch(/^"[0-9a-f]{32}"$/u);
  expect((await client.send(new HeadObjectCommand({ Bucket, Key: "copy" }))).Metadata).toEqual({
    n: "1",
  });
  const deleted = await client.send(
    new DeleteObjectsCommand({ Bucket, Delete: { Objects: keys.map((Key) => ({ Key })) } }),
  );
  expect(deleted.Deleted!.map(({ Key }) => Key)).toEqual(keys);
  const left = await client.send(new ListObjectsV2Command({ Bucket }));
  expect(left.Contents!.map(({ Key }) => Key)).toEqual(["copy"]);
  await expect(client.send(new GetObjectCommand({ Bucket, Key: "007" }))).rejects.toThrow(
    NoSuchKey,
  );
});

test("the SDK uploads in parts", async () => {
  const { client } = await connect();
  const at = { Bucket: "photos", Key: "big" };
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(at));
  const parts: { PartNumber: number; ETag: string }[] = [];
  for (const PartNumber of [1, 2]) {
    const Body = `part ${PartNumber}`;
    const { ETag } = await client.send(
      new UploadPartCommand({ ...at, UploadId, PartNumber, Body }),
    );
    parts.push({ PartNumber, ETag: ETag! });
  }
  const listed = await client.send(new ListPartsCommand({ ...at, UploadId }));
  expect(listed.Parts!.map(({ PartNumber, Size }) => [PartNumber, Size])).toEqual([
    [1, 6],
    [2, 6],
  ]);
  const done = await client.send(
    new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload: { Parts: parts } }),
  );
  expect(done).toMatchObject({ Bucket: "photos", Key: "big" });
  expect(done.ETag).toMatch(/^"[0-9a-f]{32}-2"$/u);
  const got = await client.send(new GetObjectCommand(at));
  expect(await got.Body!.transformToString()).toBe("part 1part 2");
});

test("the SDK understands what is answered about buckets", async () => {
  const { client } = await connect();
  const buckets = await client.send(new ListBucketsCommand({}));
  expect(buckets.Buckets!.map(({ Name }) => Name)).toEqual(["photos"]);
  const location = await client.send(new GetBucketLocationCommand({ Bucket: "photos" }));
  expect(location.LocationConstraint).toBe(REGION);
  const acl = await client.send(new GetBucketAclCommand({ Bucket: "photos" }));
  expect(acl.Grants).toEqual([
    {
      Grantee: { ID: "alice", DisplayName: "alice", Type: "CanonicalUser" },
      Permission: "FULL_CONTROL",
    },
  ]);
});
