import fc from "fast-check";
import { expect, test } from "vitest";
import { S3Error } from "../../../../gateway/s3/errors.ts";
import { parseTarget, percentDecode, strictEncode } from "../../../../gateway/s3/target.ts";
import { anyText } from "../any-text.ts";

test("parseTarget decodes the path once and encodes it strictly for the signature", () => {
  const cases: [raw: string, path: string, canonical: string][] = [
    ["/b/a", "/b/a", "/b/a"],
    ["/b//a/../c/.", "/b//a/../c/.", "/b//a/../c/."],
    ["/b/%7Ea%2fb", "/b/~a/b", "/b/~a/b"],
    ["/b/a+b=c!'()*:@,;&$", "/b/a+b=c!'()*:@,;&$", "/b/a%2Bb%3Dc%21%27%28%29%2A%3A%40%2C%3B%26%24"],
    ["/b/%2520", "/b/%20", "/b/%2520"],
    ["/b/%c3%bc", "/b/ü", "/b/%C3%BC"],
    ["/b/\u00c3\u00bc", "/b/ü", "/b/%C3%BC"],
    ["http://host:1/b/a?x", "/b/a", "/b/a"],
    ["", "/", "/"],
    ["?list-type=2", "/", "/"],
  ];
  for (const [raw, path, canonical] of cases) {
    expect(parseTarget(raw), raw).toMatchObject({ path, canonicalPath: canonical });
  }
});

test("parseTarget keeps every parameter, its first value readable", () => {
  const { query } = parseTarget("/b?acl&prefix=a+b&prefix=c%20d&&x=%3D=");
  expect(query.parameters.map(({ name, value }) => [name, value])).toEqual([
    ["acl", ""],
    ["prefix", "a+b"],
    ["prefix", "c d"],
    ["x", "=="],
  ]);
  expect(query.get("prefix")).toBe("a+b");
  expect([query.has("acl"), query.has("none")]).toEqual([true, false]);
  expect(parseTarget("/b?prefix=a+b%2B", "space").query.get("prefix")).toBe("a b+");
});

test("parseTarget refuses broken escapes, bytes that are no UTF-8, and targets without end", () => {
  for (const raw of [
    "/%",
    "/%4",
    "/%zz",
    "/%FF",
    "/%C3",
    "/b?x=%ED%A0%80",
    `/${"a".repeat(20_000)}`,
  ]) {
    expect(() => parseTarget(raw), raw.slice(0, 20)).toThrow(S3Error);
  }
});

test("percentDecode undoes strictEncode", () => {
  fc.assert(
    fc.property(anyText(30), fc.boolean(), (text, keepSlash) => {
      const encoded = strictEncode(text, keepSlash);
      expect(encoded).toMatch(/^[A-Za-z0-9\-._~/%]*$/u);
      expect(percentDecode(encoded)).toBe(text);
    }),
  );
});

test("parseTarget gives a target or an S3Error, whatever the bytes", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(..."/?&=%+aF0.\u00c3\u00bc\u20ac".split("")) }),
      (raw) => {
        try {
          parseTarget(raw);
        } catch (error) {
          expect(error).toBeInstanceOf(S3Error);
        }
      },
    ),
  );
});
