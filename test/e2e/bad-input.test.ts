// What clients get wrong: each mistake gets the error that S3's users know, and leaves nothing behind.
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import {
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DevCluster, until } from "./dev-cluster.ts";
import { statuses } from "./node-answers.ts";
import { type RawRequest, send } from "./raw-request.ts";
import { sdkClient } from "./sdk.ts";

const KiB = 1024;
const HOUR_MS = 60 * 60 * 1000;
const small = Buffer.alloc(2 * KiB, "s");
const large = Buffer.alloc(300 * KiB, "l");
const kept = "kept";
const keptBody = Buffer.alloc(100 * KiB, "k");
let cluster: DevCluster;
let s3: S3Client;
let blocksBefore = 0;

const blocks = async (): Promise<number> =>
  (await statuses(cluster)).reduce((sum, status) => sum + status.blocks, 0);

beforeAll(async () => {
  cluster = await DevCluster.start();
  s3 = sdkClient(cluster.dev);
  await s3.send(new PutObjectCommand({ Bucket: "demo", Key: kept, Body: keptBody }));
  // The third copy may be late.
  await until("three copies", async () => ((await blocks()) === 3 ? true : undefined));
  blocksBefore = 3;
});
afterAll(async () => {
  s3?.destroy();
  await cluster?.remove();
});

const md5 = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("base64");

type Mistake = readonly [name: string, request: RawRequest, status: number, code: string];

const put = (path: string, body: Uint8Array, more: Partial<RawRequest> = {}): RawRequest => ({
  method: "PUT",
  path,
  body,
  ...more,
});

const mistakes: readonly Mistake[] = [
  [
    "wrong secret",
    put("/demo/x", small, { secretAccessKey: "wrong" }),
    403,
    "SignatureDoesNotMatch",
  ],
  [
    "signature of another body, declared as its hash",
    put("/demo/x", large, { headers: { "x-amz-content-sha256": "0".repeat(64) } }),
    400,
    "XAmzContentSHA256Mismatch",
  ],
  [
    "clock an hour slow",
    put("/demo/x", small, { clockMs: Date.now() - HOUR_MS }),
    403,
    "RequestTimeTooSkewed",
  ],
  [
    "clock an hour fast",
    put("/demo/x", small, { clockMs: Date.now() + HOUR_MS }),
    403,
    "RequestTimeTooSkewed",
  ],
  ["unknown key", put("/demo/x", small, { accessKeyId: "AKNOBODY" }), 403, "InvalidAccessKeyId"],
  [
    "Complete with XML that ends early",
    {
      method: "POST",
      path: `/demo/x?uploadId=${"a".repeat(32)}`,
      body: "<CompleteMultipartUpload><Part>",
    },
    400,
    "MalformedXML",
  ],
  [
    "DeleteObjects with another document",
    { method: "POST", path: "/demo?delete=", body: "<Shopping><List/></Shopping>" },
    400,
    "MalformedXML",
  ],
  [
    "DeleteObjects without any XML",
    { method: "POST", path: "/demo?delete=", body: "not xml" },
    400,
    "MalformedXML",
  ],
  [
    "range after the end",
    { method: "GET", path: "/demo/kept", headers: { range: "bytes=102400-" } },
    416,
    "InvalidRange",
  ],
  [
    "empty range from the end",
    { method: "GET", path: "/demo/kept", headers: { range: "bytes=-0" } },
    416,
    "InvalidRange",
  ],
  [
    "aws-chunked with a wrong decoded length",
    put("/demo/x", chunked(large, `x-amz-checksum-crc32:${crc32Of(large)}\r\n`), {
      headers: {
        "content-encoding": "aws-chunked",
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": String(large.length + 1),
        "x-amz-trailer": "x-amz-checksum-crc32",
      },
    }),
    400,
    "IncompleteBody",
  ],
  [
    "aws-chunked with damaged framing",
    put("/demo/x", Buffer.from("zz\r\nno hex\r\n0\r\n\r\n"), {
      headers: {
        "content-encoding": "aws-chunked",
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": "6",
        "x-amz-trailer": "x-amz-checksum-crc32",
      },
    }),
    400,
    "InvalidRequest",
  ],
  [
    "wrong Content-MD5, small",
    put("/demo/x", small, { headers: { "content-md5": md5(large) } }),
    400,
    "BadDigest",
  ],
  [
    "wrong Content-MD5, large",
    put("/demo/x", large, { headers: { "content-md5": md5(small) } }),
    400,
    "BadDigest",
  ],
  [
    "wrong Content-MD5 over an object",
    put("/demo/kept", large, { headers: { "content-md5": md5(small) } }),
    400,
    "BadDigest",
  ],
  [
    "Content-MD5 that is none",
    put("/demo/x", small, { headers: { "content-md5": "abc" } }),
    400,
    "InvalidDigest",
  ],
  [
    "more bytes than Content-Length says",
    put("/demo/x", large, { headers: { "content-length": "1000" } }),
    400,
    "InvalidRequest",
  ],
  ["name of 1025 bytes", put(`/demo/${"n".repeat(1025)}`, small), 400, "KeyTooLongError"],
  [
    "name of 1026 bytes in 513 characters",
    put(`/demo/${"%C3%BC".repeat(513)}`, small),
    400,
    "KeyTooLongError",
  ],
  ["segment ..", put("/demo/a/../x", small), 400, "InvalidArgument"],
  ["segment . at the end", put("/demo/a/.", small), 400, "InvalidArgument"],
  ["escaped segment ..", put("/demo/a/%2E%2E/x", small), 400, "InvalidArgument"],
  ["NUL in a name", put("/demo/a%00b", small), 400, "InvalidArgument"],
  ["name that is not UTF-8", put("/demo/%FF", small), 400, "InvalidURI"],
  ["unknown operation on an object", put("/demo/x?tagging=", small), 501, "NotImplemented"],
  [
    "unknown operation on a bucket",
    { method: "GET", path: "/demo?website=" },
    501,
    "NotImplemented",
  ],
  ["unknown method", { method: "PATCH", path: "/demo/x", body: small }, 501, "NotImplemented"],
  [
    "encryption that would not happen",
    put("/demo/x", small, { headers: { "x-amz-server-side-encryption": "AES256" } }),
    501,
    "NotImplemented",
  ],
  ["bucket that is not there", put("/nobody/x", small), 404, "NoSuchBucket"],
  ["bucket with a bad name", { method: "PUT", path: "/No_Bucket" }, 400, "InvalidBucketName"],
  [
    "part of an upload that is not there",
    put(`/demo/x?partNumber=1&uploadId=${"a".repeat(32)}`, large),
    404,
    "NoSuchUpload",
  ],
  [
    "part number 0",
    put(`/demo/x?partNumber=0&uploadId=${"a".repeat(32)}`, small),
    400,
    "InvalidArgument",
  ],
  [
    "metadata of 3 KiB",
    put("/demo/x", small, { headers: { "x-amz-meta-m": "m".repeat(3 * KiB) } }),
    400,
    "MetadataTooLarge",
  ],
];

function crc32Of(body: Buffer): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(body));
  return bytes.toString("base64");
}

function chunked(body: Buffer, trailer = ""): Buffer {
  const head = Buffer.from(`${body.length.toString(16)}\r\n`);
  return Buffer.concat([head, body, Buffer.from(`\r\n0\r\n${trailer}\r\n`)]);
}

test.each(mistakes)("%s", async (_, request, status, code) => {
  const answer = await send(cluster.dev, request);
  expect({ status: answer.status, code: answer.code }).toEqual({ status, code });
  expect(answer.headers["content-type"]).toBe("application/xml");
  expect(answer.requestId).toMatch(/^[0-9A-F]{16}$/u);
  expect(answer.headers["x-amz-request-id"]).toBe(answer.requestId);
  if (status === 416) expect(answer.headers["content-range"]).toBe(`bytes */${keptBody.length}`);
});

test("a request without a signature is refused", async () => {
  const answer = await fetch(`${cluster.dev.endpoint}/demo/kept`);
  expect(answer.status).toBe(403);
  expect(await answer.text()).toContain("<Code>AccessDenied</Code>");
});

test.each([
  ["small", small],
  ["large", large],
])("a %s body that is cut off is refused", async (name, body) => {
  const request = put(`/demo/cut-${name}`, body, { cutAfter: body.length - 1 });
  expect(await send(cluster.dev, request)).toMatchObject({ status: 400, code: "IncompleteBody" });
});

test("nothing of all that is stored", async () => {
  const { Contents } = await s3.send(new ListObjectsV2Command({ Bucket: "demo" }));
  expect(Contents?.map(({ Key }) => Key)).toEqual([kept]);
  const { Uploads } = await s3.send(new ListMultipartUploadsCommand({ Bucket: "demo" }));
  expect(Uploads ?? []).toEqual([]);
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: "demo", Key: kept }));
  expect(Buffer.from(await Body!.transformToByteArray()).equals(keptBody)).toBe(true);
  await until("the blocks to be as many as before and no temporary file to be left", async () => {
    const temporary = cluster.dev.nodes.flatMap(({ dataDir }) =>
      readdirSync(join(dataDir, "blocks/tmp")),
    );
    return temporary.length === 0 && (await blocks()) === blocksBefore ? true : undefined;
  });
});
