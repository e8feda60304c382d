import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { type TestGateway, xmlText, xmlTexts } from "./test-gateway.ts";
import { code, withBucket } from "./with-bucket.ts";

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
    expect(await code(await copy("bytes=5-10"))).toBe("InvalidArgument");
    expect((await copy("bytes=5-9")).status).toBe(200);
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
