// The `minio` client from npm against a cluster as a user starts it.
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { Client, CopyConditions } from "minio";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DevCluster } from "./dev-cluster.ts";
import { MiB } from "./sample-files.ts";

let cluster: DevCluster;
let client: Client;
let folder: string;
const bucket = "by-minio";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "ringstow-minio-"));
  cluster = await DevCluster.start();
  const { endpoint, accessKeyId, secretAccessKey, region } = cluster.dev;
  const { hostname, port } = new URL(endpoint);
  const keys = { accessKey: accessKeyId, secretKey: secretAccessKey, region };
  client = new Client({ endPoint: hostname, port: Number(port), useSSL: false, ...keys });
  client.partSize = 5 * MiB;
  await client.makeBucket(bucket);
});
afterAll(async () => {
  await cluster?.remove();
  rmSync(folder, { recursive: true, force: true });
});

const listed = (stream: Readable): Promise<{ name?: string; prefix?: string }[]> =>
  stream.toArray();

test("makeBucket, bucketExists, listBuckets, removeBucket", async () => {
  await client.makeBucket("made-and-removed");
  expect(await client.bucketExists("made-and-removed")).toBe(true);
  expect((await client.listBuckets()).map(({ name }) => name)).toContain("made-and-removed");
  await client.removeBucket("made-and-removed");
  expect(await client.bucketExists("made-and-removed")).toBe(false);
});

test("putObject takes a buffer and a stream; statObject and getPartialObject tell of them", async () => {
  const body = randomBytes(100_000);
  const { etag } = await client.putObject(bucket, "buffer", body, body.length, {
    "Content-Type": "text/x-test",
    "X-Amz-Meta-Colour": "green",
  });
  expect(etag).toBe(createHash("md5").update(body).digest("hex"));
  expect(await client.statObject(bucket, "buffer")).toMatchObject({
    size: body.length,
    etag,
    metaData: { "content-type": "text/x-test", colour: "green" },
  });
  await client.putObject(bucket, "stream", Readable.from([body]), body.length);
  expect((await buffer(await client.getObject(bucket, "stream"))).equals(body)).toBe(true);
  const part = await buffer(await client.getPartialObject(bucket, "buffer", 1_000, 77));
  expect(part.equals(body.subarray(1_000, 1_077))).toBe(true);
  await expect(client.statObject(bucket, "nowhere")).rejects.toMatchObject({ code: "NotFound" });
});

test("putObject of unknown length and fPutObject go up in parts and come back equal", async () => {
  const body = randomBytes(12 * MiB + 5);
  await client.putObject(bucket, "unknown", Readable.from([body]));
  expect((await buffer(await client.getObject(bucket, "unknown"))).equals(body)).toBe(true);
  writeFileSync(join(folder, "file"), body);
  const { etag } = await client.fPutObject(bucket, "file", join(folder, "file"));
  expect(etag).toMatch(/^[0-9a-f]{32}-3$/u);
  await client.fGetObject(bucket, "file", join(folder, "again"));
  expect(readFileSync(join(folder, "again")).equals(body)).toBe(true);
});

test("listObjects and listObjectsV2 group by prefix; removeObjects deletes all", async () => {
  const names = ["list/a", "list/b c+d", "list/d/1", "list/d/2", "list/ü"];
  for (const name of names) await client.putObject(bucket, name, name);
  for (const list of [client.listObjects, client.listObjectsV2]) {
    const all = await listed(list.call(client, bucket, "list/", true));
    expect(all.map(({ name }) => name)).toEqual(names);
    const grouped = await listed(list.call(client, bucket, "list/", false));
    expect(grouped.flatMap(({ prefix }) => prefix ?? [])).toEqual(["list/d/"]);
    expect(grouped.flatMap(({ name }) => name ?? [])).toHaveLength(3);
  }
  await client.removeObjects(bucket, names);
  expect(await listed(client.listObjectsV2(bucket, "list/", true))).toEqual([]);
});

test("copyObject copies inside the store, and keeps its conditions", async () => {
  const { etag } = await client.putObject(bucket, "source", "content");
  await client.copyObject(bucket, "copied", `/${bucket}/source`);
  expect(await text(await client.getObject(bucket, "copied"))).toBe("content");
  const conditions = new CopyConditions();
  conditions.setMatchETagExcept(etag);
  await expect(
    client.copyObject(bucket, "not", `/${bucket}/source`, conditions),
  ).rejects.toMatchObject({ code: "PreconditionFailed" });
});

test("presigned PUT and GET work without credentials", async () => {
  const put = await client.presignedPutObject(bucket, "presigned name", 60);
  expect((await fetch(put, { method: "PUT", body: "for you" })).status).toBe(200);
  const got = await fetch(await client.presignedGetObject(bucket, "presigned name", 60));
  expect([got.status, await got.text()]).toEqual([200, "for you"]);
});

test("listIncompleteUploads shows a begun upload until it is removed", async () => {
  await client.initiateNewMultipartUpload(bucket, "begun", {});
  const begun = (await client.listIncompleteUploads(bucket, "beg", true).toArray()) as {
    key: string;
  }[];
  expect(begun.map(({ key }) => key)).toEqual(["begun"]);
  await client.removeIncompleteUpload(bucket, "begun");
  expect(await client.listIncompleteUploads(bucket, "beg", true).toArray()).toEqual([]);
});
