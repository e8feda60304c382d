import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareUtf8, prefixEnd, utf8Length } from "../../../shared/utf8.ts";

/** Well-formed strings, with the borders of UTF-8's and UTF-16's lengths more often than by chance. */
const wellFormed = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        0x1,
        0x61,
        0x7f,
        0x80,
        0x7ff,
        0x800,
        0xd7ff,
        0xe000,
        0xffff,
        0x10000,
        0x10ffff,
      ),
      fc.integer({ min: 1, max: 0x10ffff }).filter((point) => point < 0xd800 || point > 0xdfff),
    ),
    { maxLength: 6 },
  )
  .map((points) => String.fromCodePoint(...points));
const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

describe("compareUtf8", () => {
  test("equals the comparison of the bytes", () => {
    fc.assert(
      fc.property(wellFormed, wellFormed, wellFormed, (prefix, a, b) => {
        expect(Math.sign(compareUtf8(a, b))).toBe(byBytes(a, b));
        expect(Math.sign(compareUtf8(prefix + a, prefix + b))).toBe(byBytes(a, b));
      }),
      { numRuns: 1_000 },
    );
  });

  test("U+E000 to U+FFFF sort before U+10000, other than in UTF-16", () => {
    expect(compareUtf8("\uffff", "\u{10000}")).toBeLessThan(0);
    expect(["\u{10000}", "\uffff"].toSorted(compareUtf8)).toEqual(["\uffff", "\u{10000}"]);
    expect(compareUtf8("", "a")).toBeLessThan(0);
    expect(compareUtf8("a", "a")).toBe(0);
  });
});

test("utf8Length: the number of bytes", () => {
  fc.assert(
    fc.property(wellFormed, (text) => {
      expect(utf8Length(text)).toBe(Buffer.byteLength(text));
    }),
  );
});

describe("prefixEnd", () => {
  test("above every string with the prefix, not above any other that sorts after", () => {
    fc.assert(
      fc.property(wellFormed, wellFormed, wellFormed, (prefix, tail, other) => {
        const end = prefixEnd(prefix);
        if (end === undefined) {
          expect(prefix).toMatch(/^\u{10ffff}*$/u);
          return;
        }
        expect(end.isWellFormed()).toBe(true);
        expect(byBytes(prefix + tail, end)).toBeLessThan(0);
        for (const text of [other, prefix.slice(0, 1).toWellFormed() + other]) {
          if (text.startsWith(prefix)) continue;
          expect(byBytes(prefix, text) < 0).toBe(byBytes(end, text) <= 0);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test.each([
    ["a/", "a0"],
    ["a\u{10ffff}", "b"],
    ["\ud7ff", "\ue000"],
    ["\uffff", "\u{10000}"],
    ["x\u007f", "x\u0080"],
  ])("%j ends at %j", (prefix, end) => {
    expect(prefixEnd(prefix)).toBe(end);
  });

  test("there is no end of the empty prefix, nor of the last characters", () => {
    expect(prefixEnd("")).toBeUndefined();
    expect(prefixEnd("\u{10ffff}\u{10ffff}")).toBeUndefined();
  });
});
