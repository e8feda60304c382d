import fc from "fast-check";
import { expect, test } from "vitest";
import { S3Error } from "../../../../gateway/s3/errors.ts";
import { OPERATIONS, type Operation, routeRequest } from "../../../../gateway/s3/operation.ts";
import { parseTarget } from "../../../../gateway/s3/target.ts";

function route(line: string, host = "s3.example.test") {
  const [method, raw, copy] = line.split(" ") as [string, string, string?];
  const { path, query } = parseTarget(raw);
  return routeRequest({
    method,
    path,
    query,
    host,
    copySource: copy === "copy",
    domain: "s3.example.test",
  });
}

const TABLE: Record<string, Operation> = {
  "GET /": "ListBuckets",
  "GET /?x-id=ListBuckets&max-buckets=5": "ListBuckets",
  "PUT /b": "CreateBucket",
  "PUT /b/": "CreateBucket",
  "HEAD /b": "HeadBucket",
  "DELETE /b/": "DeleteBucket",
  "GET /b?location": "GetBucketLocation",
  "GET /b/?location=": "GetBucketLocation",
  "GET /b?versioning": "GetBucketVersioning",
  "GET /b?acl": "GetBucketAcl",
  "GET /b?policy": "GetBucketPolicy",
  "GET /b?object-lock": "GetObjectLockConfiguration",
  "GET /b": "ListObjects",
  "GET /b?marker=a&prefix=&delimiter=/&max-keys=1&encoding-type=url": "ListObjects",
  "GET /b?list-type=2&start-after=a&fetch-owner=true&continuation-token=x": "ListObjectsV2",
  "GET /b?uploads&key-marker=a&upload-id-marker=b": "ListMultipartUploads",
  "POST /b?delete": "DeleteObjects",
  "POST /b?delete=&x-id=DeleteObjects": "DeleteObjects",
  "GET /b/k": "GetObject",
  "GET /b/k?X-Amz-Algorithm=a&X-Amz-Signature=b&response-expires=x&versionId=null": "GetObject",
  "GET /b/k?partNumber=2": "GetObject",
  "HEAD /b/k?partNumber=2": "HeadObject",
  "PUT /b/k": "PutObject",
  "PUT /b/k?x-id=PutObject": "PutObject",
  "PUT /b/k copy": "CopyObject",
  "DELETE /b/k": "DeleteObject",
  "GET /b/k?acl": "GetObjectAcl",
  "GET /b/k?attributes": "GetObjectAttributes",
  "POST /b/k?uploads": "CreateMultipartUpload",
  "PUT /b/k?partNumber=1&uploadId=u": "UploadPart",
  "PUT /b/k?partNumber=1&uploadId=u copy": "UploadPartCopy",
  "POST /b/k?uploadId=u": "CompleteMultipartUpload",
  "DELETE /b/k?uploadId=u": "AbortMultipartUpload",
  "GET /b/k?uploadId=u&max-parts=1&part-number-marker=2": "ListParts",
};

test("routeRequest finds every operation", () => {
  for (const [line, operation] of Object.entries(TABLE)) {
    expect(route(line).operation, line).toBe(operation);
  }
  expect(new Set(Object.values(TABLE))).toEqual(new Set(OPERATIONS));
});

test("routeRequest answers NotImplemented for everything else, never another operation", () => {
  const others = [
    "PUT /b/k?tagging",
    "PUT /b/k?acl",
    "PUT /b/k?retention",
    "PUT /b/k?legal-hold",
    "PUT /b/k?uploadId=u",
    "PUT /b/k?partNumber=1",
    "PUT /b/k?unheard-of",
    "PUT /b?versioning",
    "PUT /b?policy",
    "GET /b?tagging",
    "GET /b?versions",
    "GET /b?list-type=3",
    "GET /b/k?tagging",
    "DELETE /b?policy",
    "DELETE /b/k?tagging",
    "POST /b",
    "POST /b/k",
    "POST /b/k?select&select-type=2",
    "POST /b/k?restore",
    "OPTIONS /b/k",
    "PATCH /b/k",
    "get /b/k",
    "PUT /",
    "HEAD /",
  ];
  for (const line of others) expect(() => route(line), line).toThrow(S3Error);
});

test("routeRequest never takes an unknown parameter for nothing", () => {
  const known =
    /^(?:x-id|x-amz-.*|uploads|uploadId|partNumber|versionId|acl|max-parts|part-number-marker|encoding-type|response-.*)$/iu;
  const name = fc
    .string({ unit: fc.constantFrom(..."abcxyz-".split("")), minLength: 1, maxLength: 8 })
    .filter((text) => !known.test(text));
  const method = fc.constantFrom("GET", "PUT", "POST", "DELETE", "HEAD");
  fc.assert(
    fc.property(method, name, (verb, parameter) => {
      expect(() => route(`${verb} /b/k?${parameter}`)).toThrow(S3Error);
    }),
  );
});

test("routeRequest splits bucket and key by path or by host", () => {
  expect(route("GET /b/a/b//c")).toMatchObject({ bucket: "b", key: "a/b//c" });
  expect(route("GET /b//c")).toMatchObject({ bucket: "b", key: "/c" });
  expect(route("PUT /b/%2E%2E/c")).toMatchObject({ bucket: "b", key: "../c" });
  const host = "My.Bucket.s3.example.test:8080";
  expect(route("GET /a/b", host)).toMatchObject({ bucket: "my.bucket", key: "a/b" });
  expect(route("GET /?list-type=2", host).operation).toBe("ListObjectsV2");
  expect(route("PUT /", host).operation).toBe("CreateBucket");
  expect(route("GET /a/b", "other.test")).toMatchObject({ bucket: "a", key: "b" });
});
