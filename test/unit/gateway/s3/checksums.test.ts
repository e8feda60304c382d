import fc from "fast-check";
import { createHash, createHmac } from "node:crypto";
import { crc32 as zlibCrc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import { type ErrorCode } from "../../../../shared/errors.ts";
import { type PutRequest } from "../../../../shared/object-service.ts";
import { openSecret } from "../../../../shared/sealed-secret.ts";
import { planBody } from "../../../../gateway/s3/body-plan.ts";
import { isChecksumValue, uploadChecksum } from "../../../../gateway/s3/checksums.ts";
import { S3_CODE_OF } from "../../../../gateway/s3/errors.ts";
import { crc32, crc32c, crc64nvme } from "../../../../gateway/s3/small-crc.ts";
import { HOP_SECRET, KEYS, REGION, TestGateway, xmlText, xmlTexts } from "../test-gateway.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const plain = { type: "unsigned" } as const;
const trailing = { type: "streaming", signed: false, trailer: true } as const;
const plan = (headers: Record<string, string>, payload: Parameters<typeof planBody>[1] = plain) =>
  planBody(
    new Headers({ "content-length": "9", "x-amz-decoded-content-length": "9", ...headers }),
    payload,
  );

describe("CRCs of small bodies", () => {
  test("give the check values of the CRC catalogue", () => {
    const check = new TextEncoder().encode("123456789");
    expect(hex(crc32(check))).toBe("cbf43926");
    expect(hex(crc32c(check))).toBe("e3069283");
    expect(hex(crc64nvme(check))).toBe("ae8b14860a799888");
  });

  test("crc32 equals zlib's for any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(Buffer.from(crc32(bytes)).readUInt32BE()).toBe(zlibCrc32(bytes));
      }),
    );
  });
});

describe("planBody", () => {
  test("takes a checksum from a header or announces it in the trailer", () => {
    expect(plan({ "x-amz-checksum-crc32": "y/Q5Jg==" }).checksum).toEqual({
      algorithm: "crc32",
      value: "y/Q5Jg==",
    });
    const announced = plan({ "x-amz-trailer": "X-Amz-Checksum-CRC64NVME" }, trailing);
    expect(announced.checksum).toEqual({ algorithm: "crc64nvme" });
    expect(announced.trailers).toEqual(["x-amz-checksum-crc64nvme"]);
  });

  test.each([
    ["two checksums", { "x-amz-checksum-crc32": "y/Q5Jg==", "x-amz-checksum-crc32c": "4waSgw==" }],
    ["one that is no base64", { "x-amz-checksum-crc32": "????" }],
    ["one of the wrong length", { "x-amz-checksum-sha1": "y/Q5Jg==" }],
    ["one with spare bits set", { "x-amz-checksum-crc32": "y/Q5Jh==" }],
    ["a name without a checksum", { "x-amz-sdk-checksum-algorithm": "CRC32" }],
    [
      "a name of another checksum",
      { "x-amz-sdk-checksum-algorithm": "SHA1", "x-amz-checksum-crc32": "y/Q5Jg==" },
    ],
    ["a trailer that no payload announces", { "x-amz-trailer": "x-amz-checksum-crc32" }],
  ])("refuses %s", (_, headers) => {
    expect(() => plan(headers as Record<string, string>)).toThrow(
      expect.objectContaining({ code: "InvalidRequest" }),
    );
  });

  test.each([
    ["without a name", {}],
    ["of another kind", { "x-amz-trailer": "x-amz-meta-a" }],
    ["of two checksums", { "x-amz-trailer": "x-amz-checksum-crc32,x-amz-checksum-sha1" }],
    [
      "beside a header",
      { "x-amz-trailer": "x-amz-checksum-crc32", "x-amz-checksum-crc32": "y/Q5Jg==" },
    ],
  ])("refuses a trailer %s", (_, headers) => {
    expect(() => plan(headers as Record<string, string>, trailing)).toThrow(
      expect.objectContaining({ code: "InvalidRequest" }),
    );
  });
});

test("isChecksumValue takes what base64 of the right length is", () => {
  const bytes = { crc32: 4, crc32c: 4, crc64nvme: 8, sha1: 20, sha256: 32 } as const;
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (given) => {
      const text = Buffer.from(given).toString("base64");
      for (const [algorithm, length] of Object.entries(bytes)) {
        expect(isChecksumValue(algorithm as "crc32", text)).toBe(given.length === length);
      }
    }),
  );
});

test("uploadChecksum: CRC64NVME is full, SHA is composite, other CRCs are either", () => {
  const ask = (algorithm: string, type?: string) =>
    uploadChecksum(
      new Headers({
        "x-amz-checksum-algorithm": algorithm,
        ...(type && { "x-amz-checksum-type": type }),
      }),
    )?.type;
  expect([ask("CRC64NVME"), ask("crc32"), ask("CRC32C", "FULL_OBJECT")]).toEqual([
    "full",
    "composite",
    "full",
  ]);
  const refused = expect.objectContaining({ code: "InvalidRequest" });
  expect(() => ask("CRC64NVME", "COMPOSITE")).toThrow(refused);
  expect(() => ask("SHA256", "FULL_OBJECT")).toThrow(refused);
  expect(() => ask("MD5")).toThrow(refused);
});

test("every failure of a body has S3's code", () => {
  const codes: [ErrorCode, string][] = [
    ["ChunkSignatureMismatch", "SignatureDoesNotMatch"],
    ["MalformedTrailer", "MalformedTrailerError"],
    ["ChecksumMismatch", "BadDigest"],
  ];
  for (const [code, s3] of codes) expect(S3_CODE_OF[code]).toBe(s3);
});

describe("a gateway", () => {
  const value = Buffer.from(crc32(new TextEncoder().encode("hello"))).toString("base64");

  test("shows checksums of PUT, and of GET when asked and whole", async () => {
    const gateway = new TestGateway();
    await gateway.send("PUT", "/bucket");
    const put = await gateway.send("PUT", "/bucket/a", {
      body: "hello",
      headers: { "x-amz-checksum-crc32": value },
    });
    expect(put.headers.get("x-amz-checksum-crc32")).toBe(value);
    expect(put.headers.get("x-amz-checksum-type")).toBe("FULL_OBJECT");
    const got = async (headers: Record<string, string>) =>
      (await gateway.send("GET", "/bucket/a", { headers })).headers.get("x-amz-checksum-crc32");
    expect(await got({ "x-amz-checksum-mode": "ENABLED" })).toBe(value);
    expect(await got({})).toBeNull();
    expect(await got({ "x-amz-checksum-mode": "ENABLED", range: "bytes=0-1" })).toBeNull();
    const list = await (await gateway.send("GET", "/bucket?list-type=2")).text();
    expect(xmlText(list, "ChecksumAlgorithm")).toBe("CRC32");
    const attributes = await gateway.send("GET", "/bucket/a?attributes", {
      headers: { "x-amz-object-attributes": "Checksum,ObjectSize,ETag" },
    });
    const xml = await attributes.text();
    expect([xmlText(xml, "ChecksumCRC32"), xmlText(xml, "ObjectSize")]).toEqual([value, "5"]);
    expect(xmlText(xml, "ETag")).toBe(createHash("md5").update("hello").digest("hex"));
  });

  test("seals the key of signed chunks for the nodes", async () => {
    const gateway = new TestGateway();
    await gateway.send("PUT", "/bucket");
    await gateway.send("PUT", "/bucket/a", {
      body: "0;chunk-signature=x\r\n\r\n",
      headers: {
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "x-amz-decoded-content-length": "0",
      },
    });
    const { body } = gateway.store.calls.find(({ name }) => name === "put")!.request as PutRequest;
    const { sealedKey, seed, timestamp, scope } = body.signing!;
    expect(seed).toMatch(/^[0-9a-f]{64}$/u);
    expect([timestamp, scope]).toEqual(["20261122T120000Z", `20261122/${REGION}/s3/aws4_request`]);
    const derived = scope
      .split("/")
      .reduce<string | Buffer>(
        (key, step) => createHmac("sha256", key).update(step).digest(),
        `AWS4${KEYS.alice.secretAccessKey}`,
      );
    const about = `chunk signing\n${scope}\n${timestamp}`;
    expect(hex(openSecret(HOP_SECRET, about, sealedKey))).toBe((derived as Buffer).toString("hex"));
  });

  test("carries checksums through a multipart upload", async () => {
    const gateway = new TestGateway();
    await gateway.send("PUT", "/bucket");
    const created = await gateway.send("POST", "/bucket/a?uploads", {
      headers: { "x-amz-checksum-algorithm": "CRC32" },
    });
    expect(created.headers.get("x-amz-checksum-algorithm")).toBe("CRC32");
    expect(created.headers.get("x-amz-checksum-type")).toBe("COMPOSITE");
    const id = xmlText(await created.text(), "UploadId");
    const part = await gateway.send("PUT", `/bucket/a?partNumber=1&uploadId=${id}`, {
      body: "hello",
      headers: { "x-amz-checksum-crc32": value },
    });
    expect(part.headers.get("x-amz-checksum-crc32")).toBe(value);
    const parts = await (await gateway.send("GET", `/bucket/a?uploadId=${id}`)).text();
    expect(xmlTexts(parts, "ChecksumCRC32")).toEqual([value]);
    expect(xmlText(parts, "ChecksumType")).toBe("COMPOSITE");
    const list = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${part.headers.get("etag")}</ETag><ChecksumCRC32>${value}</ChecksumCRC32></Part></CompleteMultipartUpload>`;
    const done = await gateway.send("POST", `/bucket/a?uploadId=${id}`, {
      body: list,
      headers: { "x-amz-checksum-crc32": `${value}-1`, "x-amz-mp-object-size": "5" },
    });
    expect(xmlText(await done.text(), "ChecksumCRC32")).toBe(`${value}-1`);
    expect(gateway.store.calls.at(-1)!.request).toMatchObject({
      size: 5,
      checksum: { algorithm: "crc32", value: `${value}-1` },
      parts: [{ partNumber: 1, checksum: value }],
    });
  });

  test("checks the checksum of a DeleteObjects body", async () => {
    const gateway = new TestGateway();
    await gateway.send("PUT", "/bucket");
    const body = "<Delete><Object><Key>a</Key></Object></Delete>";
    const bytes = new TextEncoder().encode(body);
    for (const [name, digest] of [
      ["crc32", crc32(bytes)],
      ["crc32c", crc32c(bytes)],
      ["crc64nvme", crc64nvme(bytes)],
      ["sha1", createHash("sha1").update(bytes).digest()],
      ["sha256", createHash("sha256").update(bytes).digest()],
    ] as const) {
      const send = (given: Uint8Array) =>
        gateway.send("POST", "/bucket?delete", {
          body,
          headers: { [`x-amz-checksum-${name}`]: Buffer.from(given).toString("base64") },
        });
      expect((await send(digest)).status).toBe(200);
      const wrong = await send(digest.map((byte, i) => (i === 0 ? byte ^ 1 : byte)));
      expect(xmlText(await wrong.text(), "Code")).toBe("BadDigest");
    }
  });
});
