import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { type TestGateway, xmlText, xmlTexts } from "./test-gateway.ts";
import { code, withBucket } from "./with-bucket.ts";

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

  test("is one call to the nodes, between buckets too, and names the source's checksum", async () => {
    const gateway = await withBucket();
    await gateway.send("PUT", "/other");
    await gateway.send("PUT", "/photos/a", {
      body: "data",
      headers: { "x-amz-checksum-crc32": "rfPzYw==" },
    });
    gateway.store.calls.length = 0;
    const copy = await gateway.send("PUT", "/other/b", {
      headers: { "x-amz-copy-source": "photos/a" },
    });
    const xml = await copy.text();
    expect([xmlText(xml, "ChecksumCRC32"), xmlText(xml, "ChecksumType")]).toEqual([
      "rfPzYw==",
      "FULL_OBJECT",
    ]);
    const names = gateway.store.calls.map(({ name }) => name);
    expect(names.filter((name) => name !== "getBucket")).toEqual(["copy"]);
    expect(await (await gateway.send("GET", "/other/b")).text()).toBe("data");
  });

  test("passes the conditions of source and target on", async () => {
    const gateway = await withBucket();
    await gateway.send("PUT", "/photos/a", { body: "1" });
    const date = "Fri, 02 Jan 2026 03:04:05 GMT";
    const response = await gateway.send("PUT", "/photos/b", {
      headers: {
        "x-amz-copy-source": "photos/a",
        "x-amz-copy-source-if-match": '"x", "c4ca4238a0b923820dcc509a6f75849b"',
        "x-amz-copy-source-if-unmodified-since": date,
        "if-none-match": "*",
      },
    });
    expect(response.status).toBe(200);
    expect(gateway.store.calls.findLast(({ name }) => name === "copy")?.request).toMatchObject({
      source: {
        key: "a",
        conditions: {
          ifMatch: ["x", "c4ca4238a0b923820dcc509a6f75849b"],
          ifUnmodifiedSinceMs: Date.parse(date),
        },
      },
      precondition: { ifNoneMatch: ["*"] },
    });
  });
});

describe("UploadPartCopy", () => {
  test("copies a range into a part; refuses one beyond the source", async () => {
    const gateway = await withBucket();
    await gateway.send("PUT", "/photos/a", { body: "0123456789" });
    const begun = await gateway.send("POST", "/photos/b?uploads");
    const id = xmlText(await begun.text(), "UploadId");
    const copy = (range: string) =>
      gateway.send("PUT", `/photos/b?partNumber=1&uploadId=${id}`, {
        headers: { "x-amz-copy-source": "photos/a", "x-amz-copy-source-range": range },
      });
    const part = await copy("bytes=2-4");
    expect(part.status).toBe(200);
    expect(xmlText(await part.text(), "ETag")).toBe(
      `&quot;${createHash("md5").update("234").digest("hex")}&quot;`,
    );
    expect(await code(await copy("bytes=2-10"))).toBe("InvalidArgument");
    expect(await code(await copy("bytes=2-"))).toBe("InvalidArgument");
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
