// Copies within a cluster: blocks get a second name on the nodes that hold them, no byte is moved.
import { createHash, randomBytes } from "node:crypto";
import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DevCluster, until } from "./dev-cluster.ts";
import { sdkClient } from "./sdk.ts";

const MiB = 1024 * 1024;
const Bucket = "demo";
const SIZE = 100 * MiB;
let cluster: DevCluster;
let s3: S3Client;
const body = randomBytes(SIZE);
const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

beforeAll(async () => {
  cluster = await DevCluster.start();
  s3 = sdkClient(cluster.dev);
  await s3.send(new CreateBucketCommand({ Bucket: "copies" }));
  await s3.send(
    new PutObjectCommand({ Bucket, Key: "big", Body: body, Metadata: { colour: "red" } }),
  );
});
afterAll(async () => {
  s3?.destroy();
  await cluster?.remove();
});

const load = async (bucket: string, Key: string): Promise<Uint8Array> => {
  const answer = await s3.send(new GetObjectCommand({ Bucket: bucket, Key }));
  return answer.Body!.transformToByteArray();
};

/** Bytes and names of all block files of the cluster, each file counted once however many names it has. */
function blockFiles(): { bytes: number; names: number; files: number } {
  const files = new Map<string, number>();
  let names = 0;
  for (const { dataDir } of cluster.dev.nodes) {
    for (const found of readdirSync(dataDir, { recursive: true, encoding: "utf8" })) {
      if (!/(?:^|\/)[0-9a-f]{2}\/[0-9a-f]{32}(?:\.link)?$/u.test(found)) continue;
      const { dev, ino, size } = lstatSync(join(dataDir, found));
      files.set(`${dev}/${ino}`, size);
      names++;
    }
  }
  return { bytes: [...files.values()].reduce((a, b) => a + b, 0), names, files: files.size };
}

/** The same, once the third copies of so many bytes have been written, which a PUT does not wait for. */
const filesOf = (bytes: number) =>
  until("three copies of all blocks", () => {
    const found = blockFiles();
    return found.bytes > 3 * bytes ? found : undefined;
  });

test("CopyObject of 100 MiB to another bucket moves no bytes, and lives without its source", async () => {
  const before = await filesOf(SIZE);
  const startMs = performance.now();
  const copied = await s3.send(
    new CopyObjectCommand({ Bucket: "copies", Key: "big", CopySource: `${Bucket}/big` }),
  );
  const tookMs = performance.now() - startMs;
  const after = blockFiles();
  console.log(
    `copied 100 MiB in ${tookMs.toFixed(0)} ms, ${after.bytes - before.bytes} bytes more`,
  );
  expect(after.bytes - before.bytes).toBe(0);
  expect(after.names).toBeGreaterThan(before.names);
  // Reading and writing it three times takes seconds here.
  expect(tookMs).toBeLessThan(1_000);
  const head = await s3.send(new HeadObjectCommand({ Bucket: "copies", Key: "big" }));
  expect(head.Metadata).toEqual({ colour: "red" });
  expect(head.ETag).toBe(`"${createHash("md5").update(body).digest("hex")}"`);
  expect(copied.CopyObjectResult?.ETag).toBe(head.ETag);
  expect(copied.CopyObjectResult?.ChecksumCRC32).toBeDefined();
  expect(hash(await load("copies", "big"))).toBe(hash(body));
  await s3.send(new DeleteObjectCommand({ Bucket, Key: "big" }));
  expect(hash(await load("copies", "big"))).toBe(hash(body));
});

test("CopyObject onto itself replaces metadata; UploadPartCopy makes parts of ranges and of whole objects", async () => {
  const self = { Bucket: "copies", Key: "big", CopySource: "copies/big" };
  await s3.send(
    new CopyObjectCommand({ ...self, MetadataDirective: "REPLACE", Metadata: { colour: "blue" } }),
  );
  const head = await s3.send(new HeadObjectCommand({ Bucket: "copies", Key: "big" }));
  expect(head.Metadata).toEqual({ colour: "blue" });
  await expect(s3.send(new CopyObjectCommand(self))).rejects.toMatchObject({
    name: "InvalidRequest",
  });

  const target = { Bucket, Key: "joined" };
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand(target));
  const part = async (PartNumber: number, CopySourceRange?: string) => {
    const copied = await s3.send(
      new UploadPartCopyCommand({
        ...target,
        UploadId,
        PartNumber,
        CopySource: "copies/big",
        ...(CopySourceRange === undefined ? {} : { CopySourceRange }),
      }),
    );
    return { PartNumber, ...copied.CopyPartResult };
  };
  await expect(part(1, `bytes=0-${SIZE}`)).rejects.toMatchObject({ name: "InvalidArgument" });
  const Parts = [await part(1), await part(2, `bytes=1000-${6 * MiB}`)].map(
    ({ PartNumber, ETag }) => ({ PartNumber, ETag }),
  );
  await s3.send(
    new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts } }),
  );
  const expected = Buffer.concat([body, body.subarray(1000, 6 * MiB + 1)]);
  expect(hash(await load(Bucket, "joined"))).toBe(hash(expected));

  // The parts of a multipart object become the blocks of its copy.
  const before = await filesOf(SIZE + 6 * MiB - 999);
  await s3.send(
    new CopyObjectCommand({ Bucket: "copies", Key: "joined", CopySource: `${Bucket}/joined` }),
  );
  expect(blockFiles().bytes - before.bytes).toBe(0);
  expect(hash(await load("copies", "joined"))).toBe(hash(expected));
  await expect(
    s3.send(new AbortMultipartUploadCommand({ ...target, UploadId })),
  ).rejects.toMatchObject({ name: "NoSuchUpload" });
});
