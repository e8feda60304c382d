import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { code, withBucket } from "./with-bucket.ts";

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

  test("an SDK's second attempt is said to be one under the first one's request id", async () => {
    const gateway = await withBucket();
    const attempts = [
      { "amz-sdk-invocation-id": "i", "amz-sdk-request": "attempt=1; max=3" },
      { "amz-sdk-invocation-id": "i", "amz-sdk-request": "attempt=2; max=3" },
      // Without an invocation id no two requests belong together.
      { "amz-sdk-request": "attempt=2; max=3" },
    ];
    for (const method of ["PUT", "DELETE"] as const) {
      gateway.store.calls.length = 0;
      for (const headers of attempts) await gateway.send(method, "/photos/a", { headers });
      const writes = gateway.store.calls
        .filter(({ name }) => name === method.toLowerCase())
        .map(({ request }) => request as { again: boolean; requestId: string });
      expect(writes.map(({ again }) => again)).toEqual([false, true, false]);
      expect(writes[1]!.requestId).toBe(writes[0]!.requestId);
      expect(writes[2]!.requestId).not.toBe(writes[0]!.requestId);
    }
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

  test("a body that waits for 100 Continue stays unread when its precondition fails", async () => {
    const gateway = await withBucket();
    await gateway.send("PUT", "/photos/there", { body: "1" });
    const read = gateway.bodiesRead.length;
    const put = (key: string, headers: Record<string, string>) =>
      gateway.send("PUT", `/photos/${key}`, {
        body: "2",
        headers: { expect: "100-continue", ...headers },
      });
    expect((await put("there", { "if-none-match": "*" })).status).toBe(412);
    expect((await put("there", { "if-match": '"other"' })).status).toBe(412);
    expect((await put("missing", { "if-match": '"other"' })).status).toBe(404);
    expect(gateway.bodiesRead.length).toBe(read);
    expect((await put("missing", { "if-none-match": "*" })).status).toBe(200);
    // The first attempt may have made what is there: whether it did, the chain says.
    const retry = { "amz-sdk-invocation-id": "1", "amz-sdk-request": "attempt=2; max=3" };
    expect((await put("there", { "if-none-match": "*", ...retry })).status).toBe(412);
    expect(gateway.bodiesRead.length).toBe(read + 2);
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
      checksum: { algorithm: "crc32" },
      trailers: ["x-amz-checksum-crc32"],
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
