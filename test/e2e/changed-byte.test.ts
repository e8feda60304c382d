// One changed byte anywhere in what a client sends: the right error, and nothing is stored. And what is not changed is
// stored with the checksum that the client gave.
import {
  type ChecksumAlgorithm,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListPartsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { createHash, createHmac } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nodeDigest } from "../../node/runtime/node-digest.ts";
import { type ChecksumAlgorithm as Algorithm } from "../../shared/records.ts";
import { DevCluster } from "./dev-cluster.ts";
import { type RawAnswer, send } from "./raw-request.ts";
import { sdkClient } from "./sdk.ts";
import { patterned } from "./smoke.ts";

let cluster: DevCluster;
let client: S3Client;

beforeAll(async () => {
  cluster = await DevCluster.start(3);
  client = sdkClient(cluster.dev);
}, 60_000);

afterAll(() => cluster.remove(), 60_000);

const SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const hmac = (key: Uint8Array, text: string): Buffer =>
  createHmac("sha256", key).update(text).digest();

function checksumOf(algorithm: Algorithm, bytes: Uint8Array): string {
  const hash = nodeDigest.start(algorithm);
  hash.update(bytes);
  return Buffer.from(hash.digest()).toString("base64");
}

/** What is sent of one body; a test changes one of it. */
interface Sending {
  readonly data: Buffer;
  /** x-amz-content-sha256. */
  readonly payload: string;
  readonly trailer: boolean;
  readonly headers: Record<string, string>;
}

interface Changes {
  /** Of a chunk's data, after its signature was made. */
  readonly data?: boolean;
  readonly chunkSignature?: boolean;
  readonly lastSignature?: boolean;
  readonly trailerValue?: boolean;
  readonly trailerSignature?: boolean;
  readonly noTrailer?: boolean;
}

const flip = (text: string): string => (text.startsWith("0") ? "1" : "0") + text.slice(1);

/** The body as SDKs send it (SigV4, "Transferring payload in multiple chunks"), in chunks of 8 KiB. */
function chunkedBody(
  { data, payload, trailer }: Sending,
  changes: Changes,
  signed: Readonly<Record<string, string>>,
): Buffer {
  const { region, secretAccessKey } = cluster.dev;
  const time = signed["x-amz-date"]!;
  const day = time.slice(0, 8);
  const scope = `${day}/${region}/s3/aws4_request`;
  const key = [day, region, "s3", "aws4_request"].reduce<Buffer>(
    hmac,
    Buffer.from(`AWS4${secretAccessKey}`),
  );
  let previous = /Signature=(\w+)/u.exec(signed["authorization"]!)![1]!;
  const sign = (kind: string, ...rest: string[]): string => {
    const text = [`AWS4-HMAC-SHA256-${kind}`, time, scope, previous, ...rest].join("\n");
    previous = hmac(key, text).toString("hex");
    return previous;
  };
  const isSigned = payload.startsWith(SIGNED);
  const parts: Buffer[] = [];
  const chunk = (bytes: Buffer, change: boolean): void => {
    const size = bytes.length.toString(16);
    const signature = isSigned ? sign("PAYLOAD", sha256(Buffer.alloc(0)), sha256(bytes)) : "";
    const sent = change ? flip(signature) : signature;
    parts.push(Buffer.from(isSigned ? `${size};chunk-signature=${sent}\r\n` : `${size}\r\n`));
    if (bytes.length > 0) parts.push(bytes, Buffer.from("\r\n"));
  };
  for (let at = 0; at < data.length; at += 8192) {
    const bytes = Buffer.from(data.subarray(at, at + 8192));
    const first = at === 0;
    chunk(bytes, first && changes.chunkSignature === true);
    if (first && changes.data) bytes[7]! ^= 1;
  }
  chunk(Buffer.alloc(0), changes.lastSignature === true);
  if (trailer && !changes.noTrailer) {
    const value = checksumOf("crc32", data);
    const line = `x-amz-checksum-crc32:${value}`;
    const other = `x-amz-checksum-crc32:${checksumOf("crc32", Buffer.from("another"))}`;
    const sent = changes.trailerValue ? other : line;
    parts.push(Buffer.from(`${sent}\r\n`));
    if (isSigned) {
      const signature = sign("TRAILER", sha256(Buffer.from(`${sent}\n`)));
      const shown = changes.trailerSignature ? flip(signature) : signature;
      parts.push(Buffer.from(`x-amz-trailer-signature:${shown}\r\n`));
    }
  }
  parts.push(Buffer.from("\r\n"));
  return Buffer.concat(parts);
}

function sendChunked(path: string, sending: Sending, changes: Changes): Promise<RawAnswer> {
  return send(cluster.dev, {
    method: "PUT",
    path,
    headers: {
      "x-amz-content-sha256": sending.payload,
      "x-amz-decoded-content-length": String(sending.data.length),
      ...(sending.trailer && { "x-amz-trailer": "x-amz-checksum-crc32" }),
      ...sending.headers,
    },
    bodyOf: (signed) => chunkedBody(sending, changes, signed),
  });
}

const small = patterned(3_000);
const large = patterned(200_000);
const FORMS = [
  { payload: SIGNED, trailer: false },
  { payload: `${SIGNED}-TRAILER`, trailer: true },
  { payload: "STREAMING-UNSIGNED-PAYLOAD-TRAILER", trailer: true },
] as const;

async function stored(Key: string): Promise<string | undefined> {
  try {
    const got = await client.send(new GetObjectCommand({ Bucket: "demo", Key }));
    return sha256(await got.Body!.transformToByteArray());
  } catch (error) {
    if ((error as Error).name === "NoSuchKey") return undefined;
    throw error;
  }
}

describe.each([
  { size: "small", data: small },
  { size: "large", data: large },
])("a $size body", ({ size, data }) => {
  describe.each(FORMS)("sent as $payload", ({ payload, trailer }) => {
    const key = `${size}-${payload}`;
    const sending: Sending = { data, payload, trailer, headers: {} };
    const mistakes: [string, Changes, Record<string, string>, number, string][] = [
      [
        "a changed byte of data",
        { data: true },
        {},
        payload.startsWith(SIGNED) ? 403 : 400,
        payload.startsWith(SIGNED) ? "SignatureDoesNotMatch" : "BadDigest",
      ],
      [
        "a declared length that is one more",
        {},
        { "x-amz-decoded-content-length": String(data.length + 1) },
        400,
        "IncompleteBody",
      ],
      ["a wrong Content-MD5", {}, { "content-md5": "1B2M2Y8AsgTpgAmY7PhCfg==" }, 400, "BadDigest"],
    ];
    if (payload.startsWith(SIGNED)) {
      const mismatch = [{}, 403, "SignatureDoesNotMatch"] as const;
      mistakes.push(["a changed chunk signature", { chunkSignature: true }, ...mismatch]);
      mistakes.push(["a changed last signature", { lastSignature: true }, ...mismatch]);
      if (trailer) {
        mistakes.push(["a changed trailer signature", { trailerSignature: true }, ...mismatch]);
      }
    }
    if (trailer) {
      mistakes.push([
        "another checksum in the trailer",
        { trailerValue: true },
        {},
        400,
        "BadDigest",
      ]);
      mistakes.push(["no trailer", { noTrailer: true }, {}, 400, "MalformedTrailerError"]);
    }

    test.each(mistakes)(
      "%s is refused and not stored",
      async (_, changes, headers, status, code) => {
        const answer = await sendChunked(`/demo/${key}`, { ...sending, headers }, changes);
        expect({ status: answer.status, code: answer.code }).toEqual({ status, code });
        expect(await stored(key)).toBeUndefined();
      },
    );

    test("unchanged it is stored, and a damaged one afterwards leaves it", async () => {
      const answer = await sendChunked(`/demo/kept-${key}`, sending, {});
      expect(answer.status, answer.text).toBe(200);
      expect((await sendChunked(`/demo/kept-${key}`, sending, { data: true })).status).not.toBe(
        200,
      );
      expect(await stored(`kept-${key}`)).toBe(sha256(data));
    });
  });

  test("one changed byte of a plain body, or of what its headers say", async () => {
    const wrong: [Record<string, string>, string][] = [
      [{ "x-amz-content-sha256": flip(sha256(data)) }, "XAmzContentSHA256Mismatch"],
    ];
    for (const algorithm of ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"] as const) {
      const value = checksumOf(algorithm, Buffer.from("another"));
      wrong.push([{ [`x-amz-checksum-${algorithm}`]: value }, "BadDigest"]);
    }
    for (const [headers, code] of wrong) {
      const path = `/demo/plain-${size}`;
      const answer = await send(cluster.dev, { method: "PUT", path, headers, body: data });
      expect({ headers, code: answer.code }).toEqual({ headers, code });
      expect(await stored(`plain-${size}`)).toBeUndefined();
    }
  });
});

test("a part that is damaged is refused and not listed", async () => {
  const at = { Bucket: "demo", Key: "parts" };
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(at));
  const path = `/demo/parts?partNumber=1&uploadId=${UploadId}`;
  for (const data of [small, large]) {
    const sending = { ...FORMS[1], data, headers: {} };
    const answer = await sendChunked(path, sending, { data: true });
    expect(answer.code).toBe("SignatureDoesNotMatch");
    const { Parts } = await client.send(new ListPartsCommand({ ...at, UploadId }));
    expect(Parts ?? []).toEqual([]);
  }
});

describe("checksums as the SDK asks for them", () => {
  test.each(["CRC32", "CRC32C", "SHA1", "SHA256"] as const)("%s", async (name) => {
    const algorithm = name.toLowerCase() as Algorithm;
    const at = { Bucket: "demo", Key: `sdk-${name}` };
    const field = `Checksum${name}` as const;
    const ChecksumAlgorithm: ChecksumAlgorithm = name;
    const put = await client.send(new PutObjectCommand({ ...at, Body: large, ChecksumAlgorithm }));
    expect(put[field]).toBe(checksumOf(algorithm, large));
    const got = await client.send(new GetObjectCommand({ ...at, ChecksumMode: "ENABLED" }));
    expect(got[field]).toBe(put[field]);
    await got.Body!.transformToByteArray();

    const { UploadId } = await client.send(
      new CreateMultipartUploadCommand({ ...at, ChecksumAlgorithm }),
    );
    const bodies = [patterned(5 * 2 ** 20), small];
    const Parts = [];
    for (const [i, Body] of bodies.entries()) {
      const PartNumber = i + 1;
      const part = { ...at, UploadId, PartNumber, Body, ChecksumAlgorithm };
      const sent = await client.send(new UploadPartCommand(part));
      Parts.push({ PartNumber, ETag: sent.ETag, [field]: sent[field] });
    }
    const done = await client.send(
      new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload: { Parts } }),
    );
    const raw = bodies.map((body) => Buffer.from(checksumOf(algorithm, body), "base64"));
    const composite = `${checksumOf(algorithm, Buffer.concat(raw))}-2`;
    expect([done[field], done.ChecksumType]).toEqual([composite, "COMPOSITE"]);
    const head = await client.send(new HeadObjectCommand({ ...at, ChecksumMode: "ENABLED" }));
    expect(head[field]).toBe(composite);
  });

  test("CRC64NVME and the full-object type are combined, not read again", async () => {
    const at = { Bucket: "demo", Key: "full" };
    const value = checksumOf("crc64nvme", large);
    const headers = { "x-amz-checksum-crc64nvme": value };
    const put = await send(cluster.dev, {
      method: "PUT",
      path: "/demo/full",
      headers,
      body: large,
    });
    expect([put.status, put.headers["x-amz-checksum-crc64nvme"]]).toEqual([200, value]);

    const ask = { ...at, ChecksumAlgorithm: "CRC32", ChecksumType: "FULL_OBJECT" } as const;
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(ask));
    const bodies = [patterned(6 * 2 ** 20), large];
    const Parts = [];
    for (const [i, Body] of bodies.entries()) {
      const PartNumber = i + 1;
      const sent = await client.send(new UploadPartCommand({ ...at, UploadId, PartNumber, Body }));
      Parts.push({ PartNumber, ETag: sent.ETag, ChecksumCRC32: sent.ChecksumCRC32 });
    }
    const done = await client.send(
      new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload: { Parts } }),
    );
    const whole = checksumOf("crc32", Buffer.concat(bodies));
    expect([done.ChecksumCRC32, done.ChecksumType]).toEqual([whole, "FULL_OBJECT"]);
  });
});
