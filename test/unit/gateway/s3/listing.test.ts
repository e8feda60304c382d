import fc from "fast-check";
import { expect, test } from "vitest";
import { S3Error } from "../../../../gateway/s3/errors.ts";
import { readListToken, writeListToken } from "../../../../gateway/s3/list-token.ts";
import { positionAfter } from "../../../../gateway/s3/listing.ts";
import { anyText } from "../any-text.ts";

const secret = new Uint8Array(32).fill(1);
const text = anyText(20);
const question = fc.record({ bucket: text, prefix: text, delimiter: text });
const position = fc.record({ after: text, afterPrefix: fc.boolean() });

test("readListToken gives back what writeListToken hid, in characters that URLs leave alone", () => {
  fc.assert(
    fc.property(question, position, (asked, at) => {
      const token = writeListToken(secret, asked, at);
      expect(token).toMatch(/^[A-Za-z0-9_-]+$/u);
      expect(readListToken(secret, asked, token)).toEqual(at);
    }),
  );
});

test("writeListToken gives no token that a command line takes for an option", () => {
  const asked = { bucket: "photos", prefix: "", delimiter: "/" };
  for (let n = 0; n < 500; n++)
    expect(writeListToken(secret, asked, { after: `${n}`, afterPrefix: false })).toMatch(/^\w/u);
});

test("readListToken refuses another question, another secret and a changed token", () => {
  const asked = { bucket: "photos", prefix: "a/", delimiter: "/" };
  const token = writeListToken(secret, asked, { after: "a/b", afterPrefix: false });
  const refused = (...args: Parameters<typeof readListToken>) =>
    expect(() => readListToken(...args)).toThrow(S3Error);
  refused(secret, { ...asked, bucket: "other" }, token);
  refused(secret, { ...asked, prefix: "a" }, token);
  refused(secret, { bucket: "photosa", prefix: "/", delimiter: "/" }, token);
  refused(secret, { ...asked, delimiter: "" }, token);
  refused(new Uint8Array(32), asked, token);
  for (let i = 0; i < token.length - 1; i++) {
    const digit = token[i] === "A" ? "B" : "A";
    refused(secret, asked, token.slice(0, i) + digit + token.slice(i + 1));
  }
  for (const bad of ["", "a", "AAAA", "A".repeat(22), "A".repeat(23), "%%%", "é", `${token}AAAA`]) {
    refused(secret, asked, bad);
  }
});

test("positionAfter goes on behind a common prefix when the marker is one", () => {
  expect(positionAfter("", "/", "")).toBeUndefined();
  expect(positionAfter("", "/", "a/")).toEqual({ after: "a/", afterPrefix: true });
  expect(positionAfter("", "/", "a/b")).toEqual({ after: "a/b", afterPrefix: false });
  expect(positionAfter("", "", "a/")).toEqual({ after: "a/", afterPrefix: false });
  expect(positionAfter("a/", "/", "a/")).toEqual({ after: "a/", afterPrefix: false });
  expect(positionAfter("a/", "/", "a/b/")).toEqual({ after: "a/b/", afterPrefix: true });
  expect(positionAfter("a/", "/", "a/b/c/")).toEqual({ after: "a/b/c/", afterPrefix: false });
  expect(positionAfter("x", "/", "a/")).toEqual({ after: "a/", afterPrefix: false });
  expect(positionAfter("", "--", "a--")).toEqual({ after: "a--", afterPrefix: true });
});
