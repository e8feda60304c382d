import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planBody } from "../../../../gateway/s3/body-plan.ts";
import { isBucketName } from "../../../../gateway/s3/bucket-name.ts";
import {
  parseEtags,
  readConditions,
  writePrecondition,
} from "../../../../gateway/s3/conditions.ts";
import { parseCopySource } from "../../../../gateway/s3/copy.ts";
import { S3Error } from "../../../../gateway/s3/errors.ts";
import { describedBy, sdkAttempt, withoutAwsChunked } from "../../../../gateway/s3/headers.ts";
import { formatHttpDate, parseHttpDate } from "../../../../gateway/s3/http-date.ts";
import { parseRange } from "../../../../gateway/s3/range.ts";

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
  return "fine";
};

test("sdkAttempt reads which attempt of an SDK a request is; the first, when it does not say", () => {
  const cases: [string | undefined, number][] = [
    ["attempt=1; max=3", 1],
    ["attempt=2; max=3", 2],
    ["ttl=20260102T030405Z; attempt=13; max=20", 13],
    ["max=3;attempt=2", 2],
    [undefined, 1],
    ["", 1],
    ["max=3", 1],
    ["attempt=0; max=3", 1],
    ["attempt=-2", 1],
    ["attempt=two", 1],
    ["reattempt=2", 1],
    ["attempt=99999999999999999999", 1],
  ];
  for (const [header, attempt] of cases) {
    const headers = new Headers(header === undefined ? {} : { "amz-sdk-request": header });
    expect(sdkAttempt(headers), header).toBe(attempt);
  }
});

describe("parseRange", () => {
  test("takes one range and leaves everything else to the whole object", () => {
    const cases: [string | null, unknown][] = [
      ["bytes=0-0", { from: 0, to: 0 }],
      ["bytes=5-9", { from: 5, to: 9 }],
      ["bytes=5-", { from: 5, to: undefined }],
      ["bytes=-5", { suffix: 5 }],
      ["bytes=-0", { suffix: 0 }],
      [" Bytes = 1 - 2 ", { from: 1, to: 2 }],
      ["bytes=99999999999999999999-", { from: Number.MAX_SAFE_INTEGER, to: undefined }],
      ["bytes=9-5", undefined],
      ["bytes=0-1,3-4", undefined],
      ["bytes=", undefined],
      ["bytes=-", undefined],
      ["bytes=a-b", undefined],
      ["bytes=--5", undefined],
      ["items=0-1", undefined],
      ["0-1", undefined],
      [null, undefined],
    ];
    for (const [header, range] of cases) expect(parseRange(header), String(header)).toEqual(range);
  });

  test("gives whole numbers or nothing, whatever the header", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."bytes=-,0129 ".split("")) }), (header) => {
        for (const number of Object.values(parseRange(header) ?? {})) {
          expect(number === undefined || Number.isSafeInteger(number)).toBe(true);
        }
      }),
    );
  });
});

describe("parseEtags", () => {
  test("reads lists, quotes or none, weak marks and the star", () => {
    const cases: [string, readonly string[]][] = [
      ['"a"', ["a"]],
      ["a", ["a"]],
      ['"a", "b,c" ,W/"d"', ["a", "b,c", "d"]],
      ["*", ["*"]],
      ['""', [""]],
      ["abc-2", ["abc-2"]],
    ];
    for (const [header, etags] of cases) expect(parseEtags(header, "if-match")).toEqual(etags);
    expect(parseEtags(null, "if-match")).toBeUndefined();
    for (const bad of ['"a', 'a"b', '"a" "b"', ",", "a b"]) {
      expect(
        codeOf(() => parseEtags(bad, "if-match")),
        bad,
      ).toBe("InvalidArgument");
    }
  });

  test("ends for every header", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'"aW/,* '.split("")) }), (header) => {
        expect(["fine", "InvalidArgument"]).toContain(codeOf(() => parseEtags(header, "x")));
      }),
    );
  });
});

test("readConditions reads the object's or a copy source's headers and ignores dates that are none", () => {
  const headers = new Headers({
    "if-match": '"a"',
    "if-modified-since": "Sun, 06 Nov 1994 08:49:37 GMT",
    "if-unmodified-since": "yesterday",
    "x-amz-copy-source-if-none-match": '"b"',
  });
  expect(readConditions(headers)).toEqual({
    ifMatch: ["a"],
    ifNoneMatch: undefined,
    ifModifiedSinceMs: Date.UTC(1994, 10, 6, 8, 49, 37),
    ifUnmodifiedSinceMs: undefined,
  });
  expect(readConditions(headers, "x-amz-copy-source-").ifNoneMatch).toEqual(["b"]);
  expect(writePrecondition(headers)).toEqual({ ifMatch: ["a"] });
  expect(writePrecondition(new Headers())).toEqual({});
});

test("parseHttpDate reads the three forms of RFC 9110 and nothing else", () => {
  const ms = Date.UTC(1994, 10, 6, 8, 49, 37);
  for (const text of [
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "Sun, 06 Nov 1994 08:49:37 +0000",
  ]) {
    expect(parseHttpDate(text), text).toBe(ms);
  }
  for (const text of ["", "1994-11-06", "784111777", "Sun, 06 Foo 1994 08:49:37 GMT"]) {
    expect(parseHttpDate(text), text).toBeUndefined();
  }
  expect(parseHttpDate(formatHttpDate(ms))).toBe(ms);
});

describe("planBody", () => {
  const plan = (headers: Record<string, string>, payload: Parameters<typeof planBody>[1]) =>
    planBody(new Headers(headers), payload);
  const unsigned = { type: "unsigned" } as const;
  const streaming = { type: "streaming", signed: true, trailer: false } as const;

  test("takes the decoded length of aws-chunked bodies, known by the payload kind", () => {
    const lengths = { "content-length": "100", "x-amz-decoded-content-length": "66" };
    expect(plan(lengths, streaming)).toMatchObject({ length: 66, encoding: "aws-chunked" });
    expect(plan({ "content-length": "100" }, unsigned)).toMatchObject({
      length: 100,
      encoding: "plain",
    });
    expect(plan({ "transfer-encoding": "chunked" }, unsigned).length).toBeUndefined();
  });

  test("carries the digests and refuses those that are none", () => {
    const sha256 = { type: "sha256", hex: "a".repeat(64) } as const;
    const md5 = "1B2M2Y8AsgTpgAmY7PhCfg==";
    expect(plan({ "content-length": "0", "content-md5": md5 }, sha256)).toEqual({
      length: 0,
      encoding: "plain",
      md5: "d41d8cd98f00b204e9800998ecf8427e",
      sha256: "a".repeat(64),
    });
    for (const bad of [
      "",
      "x",
      "1B2M2Y8AsgTpgAmY7PhCfg",
      `${md5}=`,
      "AAAA",
      "1B2M2Y8AsgTpgAmY7PhCfh==",
    ]) {
      const headers = { "content-length": "0", "content-md5": bad };
      expect(
        codeOf(() => plan(headers, unsigned)),
        bad,
      ).toBe("InvalidDigest");
    }
  });

  test("refuses a second length, and a coding that would be stored with the bytes", () => {
    const framed = { "content-length": "46", "x-amz-decoded-content-length": "5" };
    expect(codeOf(() => plan(framed, unsigned))).toBe("InvalidRequest");
    expect(plan({ ...framed, "content-length": "5" }, unsigned).length).toBe(5);
    const open = { "transfer-encoding": "chunked" };
    expect(plan({ ...open, "x-amz-decoded-content-length": "5" }, unsigned).length).toBe(5);
    expect(plan(open, unsigned).length).toBeUndefined();
    const coded = { "transfer-encoding": "gzip, chunked" };
    expect(codeOf(() => plan(coded, unsigned))).toBe("NotImplemented");
  });

  test("refuses missing and impossible lengths", () => {
    expect(codeOf(() => plan({}, unsigned))).toBe("MissingContentLength");
    expect(codeOf(() => plan({ "content-length": "9" }, streaming))).toBe("MissingContentLength");
    expect(codeOf(() => plan({ "content-length": "-1" }, unsigned))).toBe("InvalidArgument");
    const limit = 5 * 1024 ** 3;
    expect(plan({ "content-length": String(limit) }, unsigned).length).toBe(limit);
    expect(codeOf(() => plan({ "content-length": String(limit + 1) }, unsigned))).toBe(
      "EntityTooLarge",
    );
  });
});

test("withoutAwsChunked takes it out wherever it stands", () => {
  expect(withoutAwsChunked("aws-chunked")).toBe("");
  expect(withoutAwsChunked("gzip, aws-chunked")).toBe("gzip");
  expect(withoutAwsChunked("AWS-Chunked,gzip,br")).toBe("gzip,br");
});

test("describedBy keeps 2 KB of metadata and not a byte more", () => {
  const metadata = (length: number) => new Headers({ "x-amz-meta-ab": "x".repeat(length) });
  expect(describedBy(metadata(2046)).metadata["ab"]).toHaveLength(2046);
  expect(codeOf(() => describedBy(metadata(2047)))).toBe("MetadataTooLarge");
});

test("describedBy keeps 6 KiB of content headers and not a byte more", () => {
  const headers = (length: number) => new Headers({ "cache-control": "x".repeat(length) });
  const longest = 6 * 1024 - "cacheControl".length;
  expect(describedBy(headers(longest)).headers.cacheControl).toHaveLength(longest);
  expect(codeOf(() => describedBy(headers(longest + 1)))).toBe("RequestHeaderSectionTooLarge");
});

test("describedBy refuses what no answer could carry, and a name that would get lost", () => {
  for (const headers of [
    { "x-amz-meta-a": "a\u0001b" },
    { "cache-control": "a\u007fb" },
    { "x-amz-meta-__proto__": "a" },
  ]) {
    expect(codeOf(() => describedBy(new Headers(headers)))).toBe("InvalidArgument");
  }
  const kept = { "x-amz-meta-constructor": "\u00e9\t\u0080" };
  expect(describedBy(new Headers(kept)).metadata).toEqual({ constructor: "\u00e9\t\u0080" });
});

test("parseCopySource decodes, with or without a leading slash and a version", () => {
  expect(parseCopySource("b/k")).toEqual({ bucket: "b", key: "k" });
  expect(parseCopySource("/b/a%20b%3F/c?versionId=null")).toEqual({ bucket: "b", key: "a b?/c" });
  expect(codeOf(() => parseCopySource("b/k?versionId=v1"))).toBe("NoSuchVersion");
  for (const bad of ["", "b", "b/", "/b", "//k"]) {
    expect(
      codeOf(() => parseCopySource(bad)),
      bad,
    ).toBe("InvalidArgument");
  }
});

test("isBucketName follows S3's rules", () => {
  for (const name of ["abc", "a-b.c", "0ab", "a".repeat(63)]) expect(isBucketName(name)).toBe(true);
  const bad = ["", "ab", "a".repeat(64), "Abc", "a_b", ".abc", "abc-", "a..b", "1.2.3.4"];
  for (const name of [...bad, "xn--abc", "abc-s3alias", "sthree-a", "abc.mrap", "a/b"]) {
    expect(isBucketName(name), name).toBe(false);
  }
});
