import { describe, expect, it } from "vitest";
import { parseUploadId } from "../../../shared/ids.ts";
import { type GetRequest } from "../../../shared/object-service.ts";
import { type Entry } from "../../../shared/records.ts";
import { resolveSpan } from "../../../node/object/span.ts";

function entryOf(size: number, body: Entry["body"] = { kind: "inline" }): Entry {
  return { headers: {}, metadata: {}, size, etag: "tag", body, version: 1, lastModifiedMs: 0 };
}

type Asked = Pick<GetRequest, "range" | "ifRange" | "partNumber">;

function outcome(entry: Entry, asked: Asked): string {
  try {
    const { from, to, partial } = resolveSpan(entry, asked);
    return `${from}-${to}${partial ? "" : " whole"}`;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

describe("resolveSpan", () => {
  it.each<[string, number, Asked, string]>([
    ["no range", 10, {}, "0-10 whole"],
    ["first byte", 10, { range: { from: 0, to: 0 } }, "0-1"],
    ["middle", 10, { range: { from: 2, to: 5 } }, "2-6"],
    ["open end", 10, { range: { from: 4, to: undefined } }, "4-10"],
    ["end is cut", 10, { range: { from: 4, to: 99 } }, "4-10"],
    ["last byte", 10, { range: { from: 9, to: 9 } }, "9-10"],
    ["start at the end", 10, { range: { from: 10, to: undefined } }, "InvalidRange"],
    ["start behind the end", 10, { range: { from: 11, to: 20 } }, "InvalidRange"],
    ["end before start is no range", 10, { range: { from: 5, to: 4 } }, "0-10 whole"],
    ["suffix", 10, { range: { suffix: 3 } }, "7-10"],
    ["suffix of all", 10, { range: { suffix: 99 } }, "0-10"],
    ["empty suffix", 10, { range: { suffix: 0 } }, "InvalidRange"],
    ["suffix of an empty object", 0, { range: { suffix: 1 } }, "InvalidRange"],
    ["range of an empty object", 0, { range: { from: 0, to: undefined } }, "InvalidRange"],
    ["empty object", 0, {}, "0-0 whole"],
    ["If-Range holds", 10, { range: { from: 1, to: 1 }, ifRange: '"tag"' }, "1-2"],
    ["If-Range fails", 10, { range: { from: 1, to: 1 }, ifRange: "x" }, "0-10 whole"],
    ["If-Range fails before 416", 10, { range: { from: 99, to: 99 }, ifRange: "x" }, "0-10 whole"],
    ["part 1 of a plain object", 10, { partNumber: 1 }, "0-10"],
    ["part 2 of a plain object", 10, { partNumber: 2 }, "InvalidRange"],
  ])("%s", (_what, size, asked, expected) => {
    expect(outcome(entryOf(size), asked)).toBe(expected);
  });

  it("finds parts in the object's order, whatever their numbers", () => {
    const part = (partNumber: number, size: number) => ({
      partNumber,
      attempt: "0".repeat(16),
      size,
      etag: "e",
    });
    const uploadId = parseUploadId("0".repeat(32));
    const parts = [part(2, 5), part(7, 6), part(9, 1)];
    const entry = entryOf(12, { kind: "parts", uploadId, parts });
    expect([1, 2, 3, 4, 0].map((partNumber) => outcome(entry, { partNumber }))).toEqual([
      "0-5",
      "5-11",
      "11-12",
      "InvalidRange",
      "InvalidRange",
    ]);
    expect(resolveSpan(entry, { partNumber: 2 }).partsCount).toBe(3);
  });
});
