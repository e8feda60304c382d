import { expect, test } from "vitest";
import {
  errorResponse,
  isFault,
  S3_CODE_OF,
  S3_ERRORS,
  S3Error,
  toS3Error,
} from "../../../../gateway/s3/errors.ts";
import { ERRORS, type ErrorCode, RingstowError } from "../../../../shared/errors.ts";

test("every RingstowError has an S3 code whose status tells clients the same", () => {
  const codes = Object.keys(ERRORS) as ErrorCode[];
  expect(Object.keys(S3_CODE_OF).toSorted()).toEqual(codes.toSorted());
  for (const code of codes) {
    const { status } = toS3Error(new RingstowError(code));
    // What may be tried again must be 5xx; 507 alone is not retried by SDKs, nor does that help.
    expect(status >= 500, code).toBe(ERRORS[code].status >= 500 || ERRORS[code].retryable);
    expect([status, code]).not.toEqual([500, "Unavailable"]);
  }
  expect(toS3Error(new RingstowError("Unavailable")).status).toBe(503);
  expect(toS3Error(new RingstowError("SlowDown")).status).toBe(503);
});

test("S3_ERRORS has plausible statuses and messages", () => {
  for (const [code, { status, message }] of Object.entries(S3_ERRORS)) {
    expect(status, code).toBeGreaterThanOrEqual(400);
    expect(message, code).toMatch(/^[A-Z].*[^.]$/u);
  }
});

test("toS3Error keeps messages, names details as S3 does of expected failures and hides faults", () => {
  const details = { size: "9", depth: "1" };
  const range = toS3Error(new RingstowError("InvalidRange", "Cannot read: too far", details));
  expect(range).toMatchObject({ code: "InvalidRange", message: "Cannot read: too far" });
  expect(range.fields).toEqual({ ActualObjectSize: "9" });
  expect(toS3Error(new RingstowError("NoSuchKey")).message).toBe(S3_ERRORS.NoSuchKey.message);
  const checksum = new RingstowError("ChecksumMismatch", undefined, { algorithm: "crc32c" });
  expect(toS3Error(checksum)).toMatchObject({
    code: "BadDigest",
    message: "The CRC32C you specified did not match the calculated checksum",
  });
  for (const fault of [new Error("secret"), "secret", new RingstowError("Corrupt", "secret")]) {
    expect(toS3Error(fault)).toMatchObject({ code: "InternalError" });
    expect(toS3Error(fault).message).not.toContain("secret");
    expect(isFault(fault)).toBe(true);
  }
  expect(isFault(new RingstowError("Unavailable"))).toBe(false);
  const newer = Object.assign(new RingstowError("NoSuchKey"), { code: "FromTheFuture" });
  expect(toS3Error(newer).code).toBe("InternalError");
});

test("errorResponse writes the XML without a namespace, and none for HEAD", async () => {
  const error = new S3Error("NoSuchKey", "No <such> key", { Key: "a&b", "not a name": "x" });
  const about = { resource: "/b/a&b", requestId: "ABC", head: false };
  const response = errorResponse(error, about);
  expect(response.status).toBe(404);
  expect(await response.text()).toBe(
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>No &lt;such&gt; key</Message><Key>a&amp;b</Key><Resource>/b/a&amp;b</Resource><RequestId>ABC</RequestId></Error>',
  );
  const head = errorResponse(error, { ...about, head: true });
  expect([await head.text(), head.headers.get("x-amz-request-id")]).toEqual(["", "ABC"]);
});
