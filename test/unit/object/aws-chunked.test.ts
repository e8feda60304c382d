import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RingstowError } from "../../../shared/errors.ts";
import { decodeAwsChunked } from "../../../node/object/aws-chunked.ts";
import { concat } from "./fake-data.ts";

const text = new TextEncoder();

interface Form {
  readonly signed: boolean;
  readonly newline: string;
  readonly trailers: readonly string[];
}

function encode(chunks: readonly Uint8Array[], { signed, newline, trailers }: Form): Uint8Array {
  const signature = signed ? `;chunk-signature=${"0".repeat(64)}` : "";
  const pieces = chunks.flatMap((chunk) => [
    text.encode(chunk.length.toString(16) + signature + newline),
    chunk,
    text.encode(newline),
  ]);
  const end = [`0${signature}`, ...trailers, ""].map((line) => line + newline).join("");
  return concat([...pieces, text.encode(end)]);
}

async function* inPieces(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes.length > 0 ? sizes[i % sizes.length]! : bytes.length;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

async function decode(bytes: Uint8Array, sizes: readonly number[] = []) {
  const seen: { trailers?: ReadonlyMap<string, string>; signatures: (string | undefined)[] } = {
    signatures: [],
  };
  const chunks: Uint8Array[] = [];
  const listener = {
    chunk: (_size: number, signature: string | undefined) => void seen.signatures.push(signature),
    trailers: (trailers: ReadonlyMap<string, string>) => void (seen.trailers = trailers),
  };
  for await (const chunk of decodeAwsChunked(inPieces(bytes, sizes), listener)) chunks.push(chunk);
  return { body: concat(chunks), ...seen };
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "none";
  } catch (error) {
    if (error instanceof RingstowError) return error.code;
    throw error;
  }
}

const chunksArbitrary = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 5 });
const formArbitrary = fc.record({
  signed: fc.boolean(),
  newline: fc.constantFrom("\n", "\r\n"),
  trailers: fc.constantFrom<readonly string[]>(
    [],
    ["x-amz-checksum-crc32:AAAAAA=="],
    ["X-Amz-Checksum-Sha256: abc=", "x-amz-trailer-signature:00"],
  ),
});
const sizesArbitrary = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 });

describe("decodeAwsChunked", () => {
  it("gives the same bytes however the network splits the encoding", async () => {
    await fc.assert(
      fc.asyncProperty(
        chunksArbitrary,
        formArbitrary,
        sizesArbitrary,
        async (chunks, form, sizes) => {
          const decoded = await decode(encode(chunks, form), sizes);
          expect(decoded.body).toEqual(concat(chunks));
          expect(decoded.trailers?.size).toBe(form.trailers.length);
          expect(decoded.signatures).toHaveLength(chunks.length + 1);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("hands out signatures and trailers", async () => {
    const form = { signed: true, newline: "\r\n", trailers: ["X-Amz-Checksum-Crc32: sOO8/Q=="] };
    const decoded = await decode(encode([text.encode("hello")], form));
    expect(decoded.trailers?.get("x-amz-checksum-crc32")).toBe("sOO8/Q==");
    expect(decoded.signatures).toEqual(["0".repeat(64), "0".repeat(64)]);
  });

  it("accepts an empty line between a checksum and its signature", async () => {
    const body = "1\r\na\r\n0\r\nx-amz-checksum-crc32:AA==\n\r\nx-amz-trailer-signature:12\r\n\r\n";
    const decoded = await decode(text.encode(body));
    expect([...decoded.trailers!.keys()]).toEqual([
      "x-amz-checksum-crc32",
      "x-amz-trailer-signature",
    ]);
  });

  it("refuses every cut encoding", async () => {
    const form = { signed: true, newline: "\r\n", trailers: ["x-amz-checksum-crc32:AA=="] };
    const whole = encode([text.encode("hello"), text.encode("world")], form);
    for (let length = 0; length < whole.length; length++) {
      expect(await codeOf(decode(whole.subarray(0, length)))).toBe("IncompleteBody");
    }
  });

  it.each([
    ["a size that is no number", "xyz\r\nabc\r\n0\r\n\r\n"],
    ["a chunk longer than its size", "2\r\nabc\r\n0\r\n\r\n"],
    ["an empty size", "\r\n0\r\n\r\n"],
    ["a size beyond any object", "ffffffffff\r\n"],
    ["a header line without an end", "1".repeat(5000)],
    ["bytes after the last chunk's data", "1\r\naa\r\n0\r\n\r\n"],
  ])("refuses %s", async (_what, body) => {
    expect(await codeOf(decode(text.encode(body)))).toBe("MalformedBody");
  });

  it.each([
    ["a trailer without a name", "0\r\n:x\r\n\r\n"],
    ["a trailer twice", "0\r\na:1\r\na:2\r\n\r\n"],
    [
      "too many trailers",
      `0\r\n${Array.from({ length: 40 }, (_, i) => `t${i}:1\r\n`).join("")}\r\n`,
    ],
    ["bytes after the end", "0\r\n\r\nmore bytes\r\n"],
  ])("refuses %s as a damaged trailer", async (_what, body) => {
    expect(await codeOf(decode(text.encode(body)))).toBe("MalformedTrailer");
  });

  it("neither crashes nor hangs on garbage", async () => {
    const near = fc.stringMatching(/^[0-9a-f;:\r\n x-]*$/u).map((line) => text.encode(line));
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.uint8Array({ maxLength: 200 }), near),
        sizesArbitrary,
        async (bytes, sizes) => {
          const code = await codeOf(decode(bytes, sizes));
          expect(["none", "MalformedBody", "MalformedTrailer", "IncompleteBody"]).toContain(code);
          // Only an encoding that says that it ends may decode.
          if (code === "none")
            expect(new TextDecoder().decode(bytes)).toMatch(/(^|\n)0+(;.*)?\r?\n/u);
        },
      ),
      { numRuns: 500 },
    );
  });
});
