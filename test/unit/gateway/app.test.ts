import { describe, expect, test } from "vitest";
import { createHash } from "node:crypto";
import { TestGateway, xmlText, xmlTexts } from "./test-gateway.ts";

async function withBucket(name = "photos"): Promise<TestGateway> {
  const gateway = new TestGateway();
  expect((await gateway.send("PUT", `/${name}`)).status).toBe(200);
  return gateway;
}

async function code(response: Response): Promise<string | undefined> {
  return xmlText(await response.text(), "Code");
}

describe("buckets", () => {
  test("CreateBucket, HeadBucket, ListBuckets and DeleteBucket follow one bucket's life", async () => {
    const gateway = new TestGateway();
    const created = await gateway.send("PUT", "/photos", {
      body: `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>`,
    });
    expect(created.status).toBe(200);
    expect(created.headers.get("location")).toBe("/photos");
    expect(await code(await gateway.send("PUT", "/photos"))).toBe("BucketAlreadyOwnedByYou");
    expect(await code(await gateway.send("PUT", "/photos", { as: "bob" }))).toBe(
      "BucketAlreadyExists",
    );
    const head = await gateway.send("HEAD", "/photos");
    expect(head.status).toBe(200);
    expect(head.headers.get("x-amz-bucket-region")).toBe("ring-1");
    const list = await (await gateway.send("GET", "/")).text();
    expect(xmlTexts(list, "Name")).toEqual(["photos"]);
    expect(xmlTexts(await (await gateway.send("GET", "/", { as: "bob" })).text(), "Name")).toEqual(
      [],
    );
    expect((await gateway.send("DELETE", "/photos")).status).toBe(204);
    expect((await gateway.send("HEAD", "/photos")).status).toBe(404);
  });

  test("another owner's bucket is AccessDenied", async () => {
    const gateway = await withBucket();
    const response = await gateway.send("GET", "/photos", { as: "bob" });
    expect(response.status).toBe(403);
    expect(await code(response)).toBe("AccessDenied");
  });

  test("ListBuckets pages by max-buckets and token", async () => {
    const gateway = new TestGateway();
    for (const name of ["aaa", "bbb", "ccc"]) await gateway.send("PUT", `/${name}`);
    const first = await (await gateway.send("GET", "/?max-buckets=2")).text();
    expect(xmlTexts(first, "Name")).toEqual(["aaa", "bbb"]);
    const token = xmlText(first, "ContinuationToken")!;
    const second = await (
      await gateway.send("GET", `/?max-buckets=2&continuation-token=${token}`)
    ).text();
    expect(xmlTexts(second, "Name")).toEqual(["ccc"]);
    expect(xmlText(second, "ContinuationToken")).toBeUndefined();
  });

  test("features that a bucket does not have answer as S3 does", async () => {
    const gateway = await withBucket();
    const ask = (query: string) => gateway.send("GET", `/photos?${query}`);
    expect(await (await ask("location")).text()).toContain(">ring-1</LocationConstraint>");
    expect((await ask("versioning")).status).toBe(200);
    const acl = await (await ask("acl")).text();
    expect(acl).toContain('xsi:type="CanonicalUser"');
    expect(xmlText(acl, "Permission")).toBe("FULL_CONTROL");
    expect(await code(await ask("policy"))).toBe("NoSuchBucketPolicy");
    expect(await code(await ask("object-lock"))).toBe("ObjectLockConfigurationNotFoundError");
    const tagging = await ask("tagging");
    expect(tagging.status).toBe(501);
    expect(await code(tagging)).toBe("NotImplemented");
  });

  test("a bucket made anew elsewhere is found although the cached record is stale", async () => {
    const gateway = await withBucket();
    await gateway.send("PUT", "/photos/a", { body: "1" });
    const service = gateway.store.service();
    const anew = async (): Promise<void> => {
      gateway.store.objects.get(gateway.store.buckets.get("photos")!.id)!.clear();
      await service.deleteBucket({ name: "photos", requestId: "" as never });
      await service.createBucket({ name: "photos", owner: "alice", requestId: "" as never });
    };
    await anew();
    expect(await code(await gateway.send("GET", "/photos/a"))).toBe("NoSuchKey");
    await anew();
    expect((await gateway.send("PUT", "/photos/b", { body: "2" })).status).toBe(200);
    await service.delete({
      bucket: gateway.store.buckets.get("photos")!,
      key: "b",
      precondition: {},
      requestId: "" as never,
    });
    await service.deleteBucket({ name: "photos", requestId: "" as never });
    expect(await code(await gateway.send("GET", "/photos/a"))).toBe("NoSuchBucket");
  });

  test("bucket records are asked for once in a few seconds", async () => {
    const gateway = await withBucket();
    for (let i = 0; i < 3; i++) await gateway.send("GET", "/photos/none");
    const lookups = () => gateway.store.calls.filter(({ name }) => name === "getBucket").length;
    expect(lookups()).toBe(0);
    gateway.nowMs += 6_000;
    await gateway.send("GET", "/photos/none");
    await gateway.send("GET", "/photos/none");
    expect(lookups()).toBe(1);
  });

  test("impossible bucket names are InvalidBucketName", async () => {
    const gateway = new TestGateway();
    for (const name of ["ab", "Photos", "a..b", "192.168.0.1", "xn--x", "a".repeat(64), "-ab"]) {
      expect(await code(await gateway.send("PUT", `/${name}`)), name).toBe("InvalidBucketName");
    }
  });
});

describe("objects", () => {
  test("PutObject then GetObject gives bytes, headers and metadata back", async () => {
    const gateway = await withBucket();
    const put = await gateway.send("PUT", "/photos/a%20b/%C3%BC+%26.txt", {
      body: "hello",
      headers: {
        "content-type": "text/plain",
        "content-encoding": "gzip,aws-chunked",
        "cache-control": "max-age=1",
        "x-amz-meta-Colour": "red",
        "content-md5": createHash("md5").update("hello").digest("base64"),
      },
    });
    expect(put.status).toBe(200);
    const etag = `"${createHash("md5").update("hello").digest("hex")}"`;
    expect(put.headers.get("etag")).toBe(etag);
    expect([...gateway.store.objects.values()][0]!.has("a b/ü+&.txt")).toBe(true);
    const get = await gateway.send("GET", "/photos/a%20b/%C3%BC%2B%26.txt");
    expect(get.status).toBe(200);
    expect(await get.text()).toBe("hello");
    expect(Object.fromEntries(get.headers)).toMatchObject({
      etag,
      "content-length": "5",
      "content-type": "text/plain",
      "content-encoding": "gzip",
      "cache-control": "max-age=1",
      "x-amz-meta-colour": "red",
      "accept-ranges": "bytes",
      "last-modified": "Fri, 02 Jan 2026 03:04:05 GMT",
      "x-amz-request-id": expect.stringMatching(/^[0-9A-F]{16}$/u) as string,
    });
    const head = await gateway.send("HEAD", "/photos/a%20b/%C3%BC%2B%26.txt");
    expect(head.headers.get("content-length")).toBe("5");
    expect(await head.text()).toBe("");
  });

  test("GetObject with a range is 206 with Content-Range; beyond the end 416", async () => {
    const gateway = await withBucket();
    await gateway.send("PUT", "/photos/a", { body: "0123456789" });
    const get = (range: string) => gateway.send("GET", "/photos/a", { headers: { range } });
    const middle = await get("bytes=2-4");
    expect([middle.status, await middle.text()]).toEqual([206, "234"]);
    expect(middle.headers.get("content-range")).toBe("bytes 2-4/10");
    expect(middle.headers.get("content-length")).toBe("3");
    expect(await (await get("bytes=-3")).text()).toBe("789");
    expect(await (await get("bytes=8-99")).text()).toBe("89");
    const whole = await get("bytes=0-1,4-5");
    expect([whole.status, await whole.text()]).toEqual([200, "0123456789"]);
    const beyond = await get("bytes=10-");
    expect(beyond.status).toBe(416);
    expect(beyond.headers.get("content-range")).toBe("bytes */10");
    expect(await code(beyond)).toBe("InvalidRange");
  });

  test("conditions: 304 without a body, 412 with one, and write conditions", async () => {
    const gateway = await withBucket();
    const etag = (await gateway.send("PUT", "/photos/a", { body: "1" })).headers.get("etag")!;
    const unchanged = await gateway.send("GET", "/photos/a", {
      headers: { "if-none-match": `"x", ${etag}` },
    });
    expect([unchanged.status, await unchanged.text()]).toEqual([304, ""]);
    expect(unchanged.headers.get("etag")).toBe(etag);
    const failed = await gateway.send("GET", "/photos/a", { headers: { "if-match": '"x"' } });
    expect(failed.status).toBe(412);
    const put = (headers: Record<string, string>, key = "a") =>
      gateway.send("PUT", `/photos/${key}`, { body: "2", headers });
    expect((await put({ "if-none-match": "*" })).status).toBe(412);
    expect((await put({ "if-none-match": "*" }, "new")).status).toBe(200);
    expect(await code(await put({ "if-match": etag }, "missing"))).toBe("NoSuchKey");
    expect((await put({ "if-match": etag })).status).toBe(200);
    expect((await put({ "if-match": etag })).status).toBe(412);
  });

  test("DeleteObject is 204 for what is there and what is not", async () => {
    const gateway = await withBucket();
    await gateway.send("PUT", "/photos/a", { body: "1" });
    expect((await gateway.send("DELETE", "/photos/a")).status).toBe(204);
    expect((await gateway.send("DELETE", "/photos/a")).status).toBe(204);
    expect(await code(await gateway.send("GET", "/photos/a"))).toBe("NoSuchKey");
    expect(await code(await gateway.send("DELETE", "/photos/a?versionId=v1"))).toBe(
      "NoSuchVersion",
    );
  });

  test("response-* parameters replace headers and cannot forge others", async () => {
    const gateway = await withBucket();
    await gateway.send("PUT", "/photos/a", { body: "1" });
    const get = await gateway.send("GET", "/photos/a?response-content-type=text%2Fcsv");
    expect(get.headers.get("content-type")).toBe("text/csv");
    for (const bad of ["x%0D%0Aset-cookie:1", "%E2%82%AC", "a%00b"]) {
      const response = await gateway.send("GET", `/photos/a?response-content-disposition=${bad}`);
      expect(await code(response), bad).toBe("InvalidArgument");
    }
  });

  test("keys that no client could reach again are refused when written", async () => {
    const gateway = await withBucket();
    for (const key of ["a/%2E%2E/b", ".", "a/.", "../x"]) {
      const response = await gateway.send("PUT", `/photos/${key}`, { body: "" });
      expect(await code(response), key).toBe("InvalidArgument");
    }
    expect(await code(await gateway.send("PUT", "/photos/a%00b", { body: "" }))).toBe(
      "InvalidArgument",
    );
    const long = await gateway.send("PUT", `/photos/${"%C3%BC".repeat(513)}`, { body: "" });
    expect(await code(long)).toBe("KeyTooLongError");
    expect(
      (await gateway.send("PUT", `/photos/${"%C3%BC".repeat(512)}`, { body: "" })).status,
    ).toBe(200);
    const binary = await gateway.send("GET", "/photos/%FF", { anonymous: true });
    expect(await code(binary)).toBe("InvalidURI");
  });

  test("headers whose promise cannot be kept are refused, the body unread", async () => {
    const gateway = await withBucket();
    const put = (headers: Record<string, string>) =>
      gateway.send("PUT", "/photos/a", { body: "1", headers });
    const before = gateway.bodiesRead.length;
    expect(await code(await put({ "x-amz-server-side-encryption": "AES256" }))).toBe(
      "NotImplemented",
    );
    expect(await code(await put({ "x-amz-tagging": "a=b" }))).toBe("NotImplemented");
    expect(await code(await put({ "x-amz-acl": "public-read" }))).toBe(
      "AccessControlListNotSupported",
    );
    expect(await code(await put({ "x-amz-meta-a": "x".repeat(2048) }))).toBe("MetadataTooLarge");
    expect(await code(await put({ "content-md5": "AAAA" }))).toBe("InvalidDigest");
    expect(gateway.bodiesRead.length).toBe(before);
    expect((await put({ "x-amz-acl": "private" })).status).toBe(200);
  });

  test("bodies that are not what was signed fail", async () => {
    const gateway = await withBucket();
    const wrong = createHash("sha256").update("other").digest("hex");
    const response = await gateway.send("PUT", "/photos/a", {
      body: "1",
      headers: { "x-amz-content-sha256": wrong },
    });
    expect(await code(response)).toBe("XAmzContentSHA256Mismatch");
    const md5 = createHash("md5").update("other").digest("base64");
    const digest = await gateway.send("PUT", "/photos/a", {
      body: "1",
      headers: { "content-md5": md5 },
    });
    expect(await code(digest)).toBe("BadDigest");
  });

  test("a streaming PUT hands the undecoded body and its decoded length to the service", async () => {
    const gateway = await withBucket();
    const headers = {
      "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
      "x-amz-decoded-content-length": "5",
      "content-encoding": "aws-chunked",
      "x-amz-trailer": "x-amz-checksum-crc32",
    };
    const body = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    expect((await gateway.send("PUT", "/photos/a", { body, headers })).status).toBe(200);
    const put = gateway.store.calls.find(({ name }) => name === "put")!.request as {
      body: unknown;
      headers: unknown;
    };
    expect(put.body).toEqual({
      length: 5,
      encoding: "aws-chunked",
      md5: undefined,
      sha256: undefined,
    });
    expect(put.headers).toEqual({});
    const { "x-amz-decoded-content-length": _, ...without } = headers;
    const response = await gateway.send("PUT", "/photos/a", { body, headers: without });
    expect(response.status).toBe(411);
  });

  test("the request id of a write is the same for an SDK's retries and differs between keys", async () => {
    const gateway = await withBucket();
    const headers = { "amz-sdk-invocation-id": "6f1c1c2c-1111-4c1c-9c1c-aaaaaaaaaaaa" };
    for (const key of ["a", "a", "b"]) {
      await gateway.send("PUT", `/photos/${key}`, { body: "1", headers });
    }
    await gateway.send("PUT", "/photos/a", { body: "1" });
    const ids = gateway.store.calls
      .filter(({ name }) => name === "put")
      .map(({ request }) => (request as { requestId: string }).requestId);
    expect(ids[0]).toMatch(/^[0-9a-f]{32}$/u);
    expect(ids[1]).toBe(ids[0]);
    expect(new Set(ids).size).toBe(3);
  });

  test("GetObject's body breaks when the service's stream breaks", async () => {
    const gateway = await withBucket();
    await gateway.send("PUT", "/photos/a", { body: "0123456789" });
    const original = gateway.store.service.bind(gateway.store);
    gateway.store.service = () => {
      const service = original();
      return {
        ...service,
        get: async (request) => {
          const result = await service.get(request);
          if (result.type !== "object") return result;
          const body = (async function* () {
            yield new Uint8Array(4);
            throw new Error("replica gone");
          })();
          return { ...result, body };
        },
      };
    };
    const response = await gateway.send("GET", "/photos/a");
    expect(response.headers.get("content-length")).toBe("10");
    await expect(response.text()).rejects.toThrow("replica gone");
  });
});

describe("CopyObject", () => {
  test("copies bytes and description, or replaces the description", async () => {
    const gateway = await withBucket();
    await gateway.send("PUT", "/photos/a%20b", {
      body: "data",
      headers: { "x-amz-meta-n": "1", "content-type": "text/plain" },
    });
    const copy = await gateway.send("PUT", "/photos/c", {
      headers: { "x-amz-copy-source": "/photos/a%20b?versionId=null" },
    });
    expect(copy.status).toBe(200);
    expect(xmlText(await copy.text(), "ETag")).toBe(
      `&quot;${createHash("md5").update("data").digest("hex")}&quot;`,
    );
    const got = await gateway.send("GET", "/photos/c");
    expect([await got.text(), got.headers.get("x-amz-meta-n")]).toEqual(["data", "1"]);
    await gateway.send("PUT", "/photos/c", {
      headers: {
        "x-amz-copy-source": "photos/c",
        "x-amz-metadata-directive": "REPLACE",
        "x-amz-meta-m": "2",
      },
    });
    const replaced = await gateway.send("HEAD", "/photos/c");
    expect(replaced.headers.get("x-amz-meta-n")).toBeNull();
    expect(replaced.headers.get("x-amz-meta-m")).toBe("2");
  });

  test("refuses a copy without change, a missing source, and a failed source condition", async () => {
    const gateway = await withBucket();
    await gateway.send("PUT", "/photos/a", { body: "1" });
    const copy = (headers: Record<string, string>, to = "b") =>
      gateway.send("PUT", `/photos/${to}`, { headers });
    expect(await code(await copy({ "x-amz-copy-source": "photos/a" }, "a"))).toBe("InvalidRequest");
    expect(await code(await copy({ "x-amz-copy-source": "photos/none" }))).toBe("NoSuchKey");
    expect(await code(await copy({ "x-amz-copy-source": "nowhere/none" }))).toBe("NoSuchBucket");
    expect(await code(await copy({ "x-amz-copy-source": "photos" }))).toBe("InvalidArgument");
    const condition = { "x-amz-copy-source-if-none-match": "*" };
    expect(await code(await copy({ "x-amz-copy-source": "photos/a", ...condition }))).toBe(
      "PreconditionFailed",
    );
  });
});

describe("DeleteObjects", () => {
  const remove = (gateway: TestGateway, xml: string, headers: Record<string, string> = {}) =>
    gateway.send("POST", "/photos?delete", { body: xml, headers });

  test("deletes exactly the keys named, missing ones too, and reports each", async () => {
    const gateway = await withBucket();
    for (const key of ["007", "7", "%20x%20", "true"]) {
      await gateway.send("PUT", `/photos/${key}`, { body: "1" });
    }
    const xml = `<Delete><Object><Key>007</Key></Object><Object><Key> x </Key></Object><Object><Key>gone</Key></Object><Object><Key>true</Key><VersionId>v9</VersionId></Object></Delete>`;
    const response = await remove(gateway, xml, {
      "content-md5": createHash("md5").update(xml).digest("base64"),
    });
    expect(response.status).toBe(200);
    const text = await response.text();
    expect(xmlTexts(text, "Key")).toEqual(["007", " x ", "gone", "true"]);
    expect(xmlTexts(text, "Code")).toEqual(["NoSuchVersion"]);
    expect([...[...gateway.store.objects.values()][0]!.keys()]).toEqual(["7", "true"]);
  });

  test("quiet answers failures only; what is no list is MalformedXML; a wrong digest BadDigest", async () => {
    const gateway = await withBucket();
    const quiet = await remove(
      gateway,
      "<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object></Delete>",
    );
    expect(xmlTexts(await quiet.text(), "Key")).toEqual([]);
    const many = `<Delete>${"<Object><Key>a</Key></Object>".repeat(1001)}</Delete>`;
    for (const bad of ["", "<Delete/>", "<Delete>", "<Other/>", many, "<!DOCTYPE x><Delete/>"]) {
      expect(await code(await remove(gateway, bad)), bad.slice(0, 40)).toBe("MalformedXML");
    }
    const md5 = createHash("md5").update("other").digest("base64");
    expect(await code(await remove(gateway, "<Delete/>", { "content-md5": md5 }))).toBe(
      "BadDigest",
    );
  });
});

describe("multipart", () => {
  test("Create, UploadPart, ListParts, Complete and Abort", async () => {
    const gateway = await withBucket();
    const created = await (
      await gateway.send("POST", "/photos/big?uploads", { headers: { "x-amz-meta-a": "1" } })
    ).text();
    const id = xmlText(created, "UploadId")!;
    const etags: string[] = [];
    for (const [number, body] of [
      [1, "aaaa"],
      [3, "bb"],
    ] as const) {
      const part = await gateway.send("PUT", `/photos/big?partNumber=${number}&uploadId=${id}`, {
        body,
      });
      etags.push(part.headers.get("etag")!);
    }
    const parts = await (
      await gateway.send("GET", `/photos/big?uploadId=${id}&max-parts=1`)
    ).text();
    expect(xmlTexts(parts, "PartNumber")).toEqual(["1"]);
    expect(xmlText(parts, "NextPartNumberMarker")).toBe("1");
    expect(xmlText(parts, "IsTruncated")).toBe("true");
    const uploads = await (await gateway.send("GET", "/photos?uploads")).text();
    expect(xmlTexts(uploads, "UploadId")).toEqual([id]);
    const list = (numbers: number[]) =>
      `<CompleteMultipartUpload>${numbers
        .map(
          (number, i) => `<Part><ETag>${etags[i]}</ETag><PartNumber>${number}</PartNumber></Part>`,
        )
        .join("")}</CompleteMultipartUpload>`;
    const complete = (body: string) => gateway.send("POST", `/photos/big?uploadId=${id}`, { body });
    expect(await code(await complete("<CompleteMultipartUpload/>"))).toBe("MalformedXML");
    expect(await code(await complete(list([3, 1])))).toBe("InvalidPartOrder");
    expect(await code(await complete(list([1, 2])))).toBe("InvalidPart");
    const done = await complete(list([1, 3]));
    expect(done.status).toBe(200);
    expect(xmlText(await done.text(), "ETag")).toMatch(/^&quot;[0-9a-f]{32}-2&quot;$/u);
    const got = await gateway.send("GET", "/photos/big?partNumber=1");
    expect(got.headers.get("x-amz-mp-parts-count")).toBe("2");
    expect(got.headers.get("x-amz-meta-a")).toBe("1");
    expect(await code(await gateway.send("DELETE", `/photos/big?uploadId=${id}`))).toBe(
      "NoSuchUpload",
    );
  });

  test("part numbers and upload ids that cannot be are refused before the body is read", async () => {
    const gateway = await withBucket();
    const before = gateway.bodiesRead.length;
    const put = (query: string) => gateway.send("PUT", `/photos/big?${query}`, { body: "1" });
    const id = "0".repeat(32);
    for (const number of ["0", "10001", "x", "-1", "1.5"]) {
      expect(await code(await put(`partNumber=${number}&uploadId=${id}`))).toBe("InvalidArgument");
    }
    expect(await code(await put("partNumber=1&uploadId=nonsense"))).toBe("NoSuchUpload");
    expect(gateway.bodiesRead.length).toBe(before);
  });

  test("UploadPartCopy copies a range of a source", async () => {
    const gateway = await withBucket();
    await gateway.send("PUT", "/photos/a", { body: "0123456789" });
    const created = await (await gateway.send("POST", "/photos/big?uploads")).text();
    const id = xmlText(created, "UploadId")!;
    const copy = (range: string) =>
      gateway.send("PUT", `/photos/big?partNumber=1&uploadId=${id}`, {
        headers: { "x-amz-copy-source": "photos/a", "x-amz-copy-source-range": range },
      });
    expect(await code(await copy("bytes=5-"))).toBe("InvalidArgument");
    expect(xmlText(await (await copy("bytes=2-4")).text(), "ETag")).toBe(
      `&quot;${createHash("md5").update("234").digest("hex")}&quot;`,
    );
  });
});

describe("listing", () => {
  async function listed(): Promise<TestGateway> {
    const gateway = await withBucket();
    for (const key of ["a", "b/1", "b/2", "c%26%3C", "%F0%9F%98%80"]) {
      await gateway.send("PUT", `/photos/${key}`, { body: "1" });
    }
    return gateway;
  }
  const xml = async (gateway: TestGateway, query: string) =>
    (await gateway.send("GET", `/photos?${query}`)).text();

  test("ListObjectsV2 pages through keys and prefixes by tokens", async () => {
    const gateway = await listed();
    const seen: string[] = [];
    let token: string | undefined;
    for (let i = 0; i < 10; i++) {
      const suffix = token === undefined ? "" : `&continuation-token=${token}`;
      const page = await xml(gateway, `list-type=2&delimiter=%2F&max-keys=1${suffix}`);
      expect(xmlText(page, "KeyCount")).toBe("1");
      seen.push(xmlText(page, "Key") ?? xmlText(page.split("<CommonPrefixes>")[1]!, "Prefix")!);
      token = xmlText(page, "NextContinuationToken");
      expect(xmlText(page, "IsTruncated")).toBe(String(token !== undefined));
      if (token === undefined) break;
    }
    expect(seen).toEqual(["a", "b/", "c&amp;&lt;", "😀"]);
  });

  test("ListObjects pages by NextMarker, which it names only with a delimiter", async () => {
    const gateway = await listed();
    const first = await xml(gateway, "delimiter=/&max-keys=2");
    expect(xmlText(first, "NextMarker")).toBe("b/");
    const second = await xml(gateway, "delimiter=/&max-keys=2&marker=b%2F");
    expect(xmlTexts(second, "Key")).toEqual(["c&amp;&lt;", "😀"]);
    const plain = await xml(gateway, "max-keys=2");
    expect(xmlText(plain, "IsTruncated")).toBe("true");
    expect(xmlText(plain, "NextMarker")).toBeUndefined();
    expect(xmlText(plain, "Owner")).toBeUndefined();
    expect(plain).toContain("<Owner><ID>alice</ID>");
  });

  test("encoding-type, fetch-owner, start-after and max-keys=0", async () => {
    const gateway = await listed();
    const encoded = await xml(gateway, "list-type=2&encoding-type=url&start-after=b%2F2");
    expect(xmlTexts(encoded, "Key")).toEqual(["c%26%3C", "%F0%9F%98%80"]);
    expect(xmlText(encoded, "EncodingType")).toBe("url");
    expect(encoded).not.toContain("<Owner>");
    expect(await xml(gateway, "list-type=2&fetch-owner=true")).toContain("<Owner>");
    const none = await xml(gateway, "list-type=2&max-keys=0");
    expect([xmlText(none, "IsTruncated"), xmlText(none, "KeyCount")]).toEqual(["false", "0"]);
    expect(xmlText(await xml(gateway, "list-type=2&max-keys=5000"), "MaxKeys")).toBe("1000");
    for (const bad of ["max-keys=-1", "max-keys=x", "encoding-type=base64"]) {
      expect(xmlText(await xml(gateway, `list-type=2&${bad}`), "Code")).toBe("InvalidArgument");
    }
  });

  test("a token of another question is refused", async () => {
    const gateway = await listed();
    const token = xmlText(await xml(gateway, "list-type=2&max-keys=1"), "NextContinuationToken")!;
    const moved = await xml(gateway, `list-type=2&prefix=b&continuation-token=${token}`);
    expect(xmlText(moved, "Code")).toBe("InvalidArgument");
  });
});

describe("errors", () => {
  test("the XML's RequestId is x-amz-request-id, HEAD has no body", async () => {
    const gateway = await withBucket();
    const response = await gateway.send("GET", "/photos/no%26thing");
    const text = await response.text();
    expect(response.status).toBe(404);
    expect(response.headers.get("content-type")).toBe("application/xml");
    expect(text).not.toContain("xmlns");
    expect(xmlText(text, "RequestId")).toBe(response.headers.get("x-amz-request-id"));
    expect(xmlText(text, "Resource")).toBe("/photos/no&amp;thing");
    const head = await gateway.send("HEAD", "/photos/nothing");
    expect([head.status, await head.text()]).toEqual([404, ""]);
  });

  test("a fault is InternalError, told to the operator and not to the client", async () => {
    const gateway = await withBucket();
    gateway.store.service = () => {
      throw new Error("secret detail");
    };
    const response = await gateway.send("GET", "/photos/a");
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("secret");
    expect(gateway.faults).toHaveLength(1);
  });

  test("unknown sub-resources are 501 and write nothing", async () => {
    const gateway = await withBucket();
    const before = gateway.store.calls.length;
    for (const target of [
      "/photos/a?tagging",
      "/photos/a?acl",
      "/photos/a?brandnew",
      "/photos?x",
    ]) {
      const response = await gateway.send("PUT", target, { body: "1" });
      expect(response.status, target).toBe(501);
    }
    expect((await gateway.send("OPTIONS", "/photos/a")).status).toBe(501);
    expect((await gateway.send("PATCH", "/photos/a")).status).toBe(501);
    expect(gateway.store.calls.length).toBe(before);
  });

  test("an unsigned request is AccessDenied and its body stays unread", async () => {
    const gateway = await withBucket();
    const before = gateway.bodiesRead.length;
    const response = await gateway.send("PUT", "/photos/a", { body: "1", anonymous: true });
    expect(response.status).toBe(403);
    expect(gateway.bodiesRead.length).toBe(before);
  });
});

describe("hosts", () => {
  test("a bucket is found as a sub-domain of the public URL", async () => {
    const gateway = new TestGateway({ publicUrl: "https://s3.example.test" });
    await gateway.send("PUT", "/photos");
    const headers = { host: "photos.s3.example.test" };
    expect((await gateway.send("PUT", "/dir/a", { body: "1", headers })).status).toBe(200);
    expect(await (await gateway.send("GET", "/photos/dir/a")).text()).toBe("1");
    const list = await (await gateway.send("GET", "/?list-type=2", { headers })).text();
    expect(xmlTexts(list, "Key")).toEqual(["dir/a"]);
  });

  test("X-Forwarded-Host counts only from a trusted proxy", async () => {
    for (const trustForwarded of [true, false]) {
      const gateway = new TestGateway({ trustForwarded });
      const signed = await gateway.presign("PUT", "/photos");
      const headers = { host: "10.0.0.7:8080", "x-forwarded-host": "s3.example.test" };
      const response = await gateway.raw("PUT", signed, { ...headers, "content-length": "0" });
      expect(response.status).toBe(trustForwarded ? 200 : 403);
    }
  });
});
