import { describe, expect, it } from "vitest";
import * as fc from "fast-check";
import { type ReadConditions } from "../../../shared/object-service.ts";
import { type Entry } from "../../../shared/records.ts";
import { evaluateRead, holdsIfRange } from "../../../node/object/conditions.ts";
import { formatHttpDate } from "../../../node/object/http-date.ts";

const MODIFIED = 1_700_000_000_500;
const SECOND = 1_700_000_000_000;
const entry: Entry = {
  headers: {},
  metadata: {},
  size: 3,
  etag: "tag",
  body: { kind: "inline" },
  version: 1,
  lastModifiedMs: MODIFIED,
};

function outcome(conditions: ReadConditions): string {
  try {
    return evaluateRead(entry, conditions);
  } catch {
    return "failed";
  }
}

describe("evaluateRead", () => {
  it.each<[string, ReadConditions, string]>([
    ["no condition", {}, "send"],
    ["If-Match holds", { ifMatch: ["other", "tag"] }, "send"],
    ["If-Match any", { ifMatch: ["*"] }, "send"],
    ["If-Match fails", { ifMatch: ["other"] }, "failed"],
    ["If-None-Match names it", { ifNoneMatch: ["tag"] }, "notModified"],
    ["If-None-Match any", { ifNoneMatch: ["*"] }, "notModified"],
    ["If-None-Match names another", { ifNoneMatch: ["other"] }, "send"],
    ["unchanged since its own second", { ifModifiedSinceMs: SECOND }, "notModified"],
    ["changed since", { ifModifiedSinceMs: SECOND - 1000 }, "send"],
    ["unmodified since its own second", { ifUnmodifiedSinceMs: SECOND }, "send"],
    ["modified since", { ifUnmodifiedSinceMs: SECOND - 1000 }, "failed"],
    [
      "If-Match beats If-Unmodified-Since",
      { ifMatch: ["tag"], ifUnmodifiedSinceMs: SECOND - 1000 },
      "send",
    ],
    [
      "If-None-Match beats If-Modified-Since",
      { ifNoneMatch: ["other"], ifModifiedSinceMs: SECOND },
      "send",
    ],
    [
      "If-None-Match holds although it changed",
      { ifNoneMatch: ["tag"], ifModifiedSinceMs: SECOND - 1000 },
      "notModified",
    ],
    ["412 goes before 304", { ifMatch: ["other"], ifNoneMatch: ["tag"] }, "failed"],
  ])("%s", (_what, conditions, expected) => {
    expect(outcome(conditions)).toBe(expected);
  });
});

describe("holdsIfRange", () => {
  it.each<[string, boolean]>([
    ["tag", true],
    ['"tag"', true],
    ['W/"tag"', false],
    ["other", false],
    [formatHttpDate(MODIFIED), true],
    [formatHttpDate(MODIFIED - 1000), false],
  ])("%s: %s", (value, expected) => {
    expect(holdsIfRange(entry, value)).toBe(expected);
  });
});

describe("formatHttpDate", () => {
  it("agrees with the host's Date", () => {
    fc.assert(
      fc.property(fc.integer({ min: -2_000_000_000, max: 250_000_000_000 }), (seconds) => {
        expect(formatHttpDate(seconds * 1000)).toBe(new Date(seconds * 1000).toUTCString());
      }),
      { numRuns: 500 },
    );
  });
});
