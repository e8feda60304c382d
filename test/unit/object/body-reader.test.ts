// Bodies in aws-chunked form with signatures and trailers. The vectors are those of "Signature calculations for the
// authorization header: transferring payload in multiple chunks" and "... including trailing headers" (S3 API
// reference).
import { createHash, createHmac } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RingstowError } from "../../../shared/errors.ts";
import { type BodyPlan, type ChunkSigning } from "../../../shared/object-service.ts";
import { type ChecksumAlgorithm } from "../../../shared/records.ts";
import { sealSecret } from "../../../shared/sealed-secret.ts";
import { BodyReader } from "../../../node/object/body-reader.ts";
import { concat } from "./fake-data.ts";
import { HOP_SECRET, digest, md5, plan, sha256, stream } from "./fixture.ts";

const text = new TextEncoder();
const SCOPE = "20130524/us-east-1/s3/aws4_request";
const TIMESTAMP = "20130524T000000Z";
const SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

const hmac = (key: string | Uint8Array, data: string) =>
  createHmac("sha256", key).update(data).digest();
const KEY = SCOPE.split("/").reduce<Uint8Array>(hmac, text.encode(`AWS4${SECRET}`));

function signing(seed: string): ChunkSigning {
  const about = `chunk signing\n${SCOPE}\n${TIMESTAMP}`;
  const sealedKey = sealSecret(HOP_SECRET, new Uint8Array(24).fill(1), about, KEY);
  return { sealedKey, seed, timestamp: TIMESTAMP, scope: SCOPE };
}

/** Checksums by another way than the code under test where there is one. */
function checksum(algorithm: ChecksumAlgorithm, body: Uint8Array): string {
  const hasher = digest.start(algorithm);
  hasher.update(body);
  return Buffer.from(hasher.digest()).toString("base64");
}

async function readAll(body: Uint8Array, of: BodyPlan, chunkBytes = 1000) {
  const reader = new BodyReader(stream(body, chunkBytes), of, digest, { hopSecret: HOP_SECRET });
  const chunks: Uint8Array[] = [];
  for await (const chunk of reader.chunks()) chunks.push(chunk.slice());
  return { bytes: concat(chunks), checksum: reader.checksum, etag: reader.etag };
}

async function outcome(body: Uint8Array, of: BodyPlan, chunkBytes?: number): Promise<string> {
  try {
    const { bytes } = await readAll(body, of, chunkBytes);
    return `stored ${md5(bytes)}`;
  } catch (error) {
    if (error instanceof RingstowError) return error.code;
    throw error;
  }
}

interface Form {
  readonly signed: boolean;
  readonly newline: string;
  readonly trailer: readonly [name: string, value: string] | undefined;
}

/** An encoder of its own, by the text of the API reference. */
function encode(chunks: readonly Uint8Array[], seed: string, form: Form): Uint8Array {
  const { signed, newline, trailer } = form;
  const empty = sha256(new Uint8Array());
  let previous = seed;
  const sign = (kind: string, ...hashes: string[]) => {
    const lines = [`AWS4-HMAC-SHA256-${kind}`, TIMESTAMP, SCOPE, previous, ...hashes];
    previous = hmac(KEY, lines.join("\n")).toString("hex");
    return previous;
  };
  const pieces: Uint8Array[] = [];
  const line = (content: string) => pieces.push(text.encode(content + newline));
  for (const chunk of [...chunks, new Uint8Array()]) {
    const extension = signed ? `;chunk-signature=${sign("PAYLOAD", empty, sha256(chunk))}` : "";
    line(chunk.length.toString(16) + extension);
    if (chunk.length > 0) {
      pieces.push(chunk);
      line("");
    }
  }
  if (trailer) {
    line(trailer.join(":"));
    const hash = createHash("sha256")
      .update(`${trailer.join(":")}\n`)
      .digest("hex");
    if (signed) line(`x-amz-trailer-signature:${sign("TRAILER", hash)}`);
  }
  line("");
  return concat(pieces);
}

const A66560 = new Uint8Array(66_560).fill(97);
const example = (signatures: readonly string[], trailer = ""): Uint8Array => {
  const [first, second, last] = signatures;
  return concat([
    text.encode(`10000;chunk-signature=${first}\r\n`),
    A66560.subarray(0, 65_536),
    text.encode(`\r\n400;chunk-signature=${second}\r\n`),
    A66560.subarray(65_536),
    text.encode(`\r\n0;chunk-signature=${last}\r\n${trailer}\r\n`),
  ]);
};

describe("BodyReader and the examples of the API reference", () => {
  it("verifies signed chunks", async () => {
    const body = example([
      "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
      "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
      "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ]);
    const seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    const of = plan(66_560, { encoding: "aws-chunked", signing: signing(seed) });
    const { bytes, checksum: none } = await readAll(body, of);
    expect(md5(bytes)).toBe(md5(A66560));
    expect(none).toBeUndefined();
    const other = { ...of, signing: signing(seed.replace("4", "5")) };
    expect(await outcome(body, other)).toBe("ChunkSignatureMismatch");
  });

  it("verifies a signed trailer", async () => {
    const signatures = [
      "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
      "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
      "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ];
    const signature = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";
    const trailer = `x-amz-checksum-crc32c:sOO8/Q==\nx-amz-trailer-signature:${signature}\r\n`;
    const of = plan(66_560, {
      encoding: "aws-chunked",
      signing: signing("106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"),
      checksum: { algorithm: "crc32c" },
      trailers: ["x-amz-checksum-crc32c"],
    });
    const { checksum: stored } = await readAll(example(signatures, trailer), of);
    expect(stored).toEqual({ algorithm: "crc32c", type: "full", value: "sOO8/Q==" });
    const changed = trailer.replace("d81f", "d81e");
    expect(await outcome(example(signatures, changed), of)).toBe("ChunkSignatureMismatch");
  });
});

const algorithms = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"] as const;
const SEED = "ab".repeat(32);
const formArbitrary = fc
  .record({
    signed: fc.boolean(),
    newline: fc.constantFrom("\n", "\r\n"),
    algorithm: fc.option(fc.constantFrom(...algorithms), { nil: undefined }),
    chunks: fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { maxLength: 4 }),
    split: fc.integer({ min: 1, max: 300 }),
  })
  .map(({ signed, newline, algorithm, chunks, split }) => {
    const whole = concat(chunks);
    const trailer =
      algorithm && ([`x-amz-checksum-${algorithm}`, checksum(algorithm, whole)] as const);
    const of = plan(whole.length, {
      encoding: "aws-chunked",
      ...(signed && { signing: signing(SEED) }),
      ...(algorithm && { checksum: { algorithm }, trailers: [`x-amz-checksum-${algorithm}`] }),
    });
    const body = encode(chunks, SEED, { signed, newline, trailer });
    return { signed, algorithm, whole, of, body, split };
  });

describe("BodyReader", () => {
  it("decodes and verifies any body, in any chunks, however the network splits it", async () => {
    await fc.assert(
      fc.asyncProperty(formArbitrary, async ({ algorithm, whole, of, body, split }) => {
        const read = await readAll(body, of, split);
        expect(md5(read.bytes)).toBe(md5(whole));
        expect(read.etag).toBe(md5(whole));
        const value = algorithm && checksum(algorithm, whole);
        expect(read.checksum).toEqual(algorithm && { algorithm, type: "full", value });
      }),
      { numRuns: 200 },
    );
  });

  it("never takes a body with one byte changed for another body", async () => {
    const place = fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 }));
    const checked = formArbitrary.filter(({ signed, algorithm }) => signed || !!algorithm);
    const expected = [
      "ChunkSignatureMismatch",
      "MalformedTrailer",
      "MalformedBody",
      "IncompleteBody",
      "ChecksumMismatch",
      "InvalidRequest",
    ];
    await fc.assert(
      fc.asyncProperty(checked, place, async ({ whole, of, body, split }, [at, bits]) => {
        const changed = body.slice();
        changed[at % body.length]! ^= bits;
        const stored = `stored ${md5(whole)}`;
        expect([...expected, stored]).toContain(await outcome(changed, of, split));
      }),
      { numRuns: 600 },
    );
  });

  const hello = text.encode("hello");
  const chunked = (trailer: readonly [string, string] | undefined, signed = false) =>
    encode([hello], SEED, { signed, newline: "\r\n", trailer });
  const crc = ["x-amz-checksum-crc32", checksum("crc32", hello)] as const;
  const declared = plan(5, {
    encoding: "aws-chunked",
    checksum: { algorithm: "crc32" },
    trailers: [crc[0]],
  });

  it.each([
    ["a declared trailer that is missing", chunked(undefined), declared, "MalformedTrailer"],
    [
      "a trailer that nobody declared",
      chunked(crc),
      { ...declared, checksum: undefined, trailers: [] },
      "MalformedTrailer",
    ],
    ["a foreign trailer", chunked(["x-amz-checksum-sha1", "AA=="]), declared, "MalformedTrailer"],
    ["another checksum", chunked([crc[0], "AAAAAA=="]), declared, "ChecksumMismatch"],
    ["a checksum that is no base64", chunked([crc[0], "AAAA*A=="]), declared, "InvalidRequest"],
    ["a checksum of another length", chunked([crc[0], "AAAA"]), declared, "InvalidRequest"],
    ["a shorter declared length", chunked(crc), { ...declared, length: 4 }, "IncompleteBody"],
    ["a longer declared length", chunked(crc), { ...declared, length: 6 }, "IncompleteBody"],
    [
      "signed chunks whose trailer is not signed",
      concat([chunked(undefined, true).subarray(0, -2), text.encode(`${crc.join(":")}\r\n\r\n`)]),
      { ...declared, signing: signing(SEED) },
      "MalformedTrailer",
    ],
    [
      "chunks without the signatures that they must have",
      chunked(crc),
      { ...declared, signing: signing(SEED) },
      "ChunkSignatureMismatch",
    ],
    [
      "a wrong checksum in the header",
      hello,
      plan(5, { checksum: { algorithm: "crc32c", value: "AAAAAA==" } }),
      "ChecksumMismatch",
    ],
    [
      "a checksum that nothing brings",
      hello,
      plan(5, { checksum: { algorithm: "sha1" } }),
      "InvalidRequest",
    ],
    [
      "two algorithms",
      hello,
      { ...declared, trailers: [crc[0], "x-amz-checksum-sha1"] },
      "InvalidRequest",
    ],
    [
      "a key sealed for another scope",
      chunked(crc, true),
      { ...declared, signing: { ...signing(SEED), scope: "other" } },
      "AccessDenied",
    ],
  ] satisfies [string, Uint8Array, BodyPlan, string][])(
    "refuses %s",
    async (_what, body, of, code) => {
      expect(await outcome(body, of)).toBe(code);
    },
  );

  it("passes over signatures when the plan does not say that they count", async () => {
    const stored = `stored ${md5(hello)}`;
    expect(await outcome(chunked(crc, true), declared)).toBe(stored);
  });

  it("hashes once where the digest of the payload is the checksum too", async () => {
    const value = checksum("sha256", hello);
    const of = plan(5, { sha256: sha256(hello), checksum: { algorithm: "sha256", value } });
    const started: string[] = [];
    const counting = {
      ...digest,
      start: (algorithm: Parameters<typeof digest.start>[0]) => {
        started.push(algorithm);
        return digest.start(algorithm);
      },
    };
    const reader = new BodyReader(stream(hello), of, counting);
    for await (const chunk of reader.chunks()) expect(chunk).toEqual(hello);
    expect(reader.checksum?.value).toBe(value);
    expect(started.toSorted()).toEqual(["md5", "sha256"]);
  });
});
