import { expect, test } from "vitest";
import {
  formatGrants,
  grantsOf,
  newKeyPair,
  parseEnd,
  requireKeyId,
} from "../../../../node/cli/keys.ts";

const none = { read: [], write: [], owner: [] };

test("newKeyPair makes ids and secrets that can stand on a command line, in a URL and in a file", () => {
  for (let n = 0; n < 500; n++) {
    const { accessKeyId, secretAccessKey } = newKeyPair();
    expect(accessKeyId).toMatch(/^RS[0-9A-F]{18}$/u);
    expect(secretAccessKey).toMatch(/^[A-Za-z0-9]{40}$/u);
  }
});

test("grantsOf gives a bucket the strongest of the permissions that name it", () => {
  const grants = grantsOf({ ...none, read: ["photos", "inbox"], write: ["inbox"], all: "read" });
  expect(grants).toEqual({
    all: "read",
    buckets: { photos: "read", inbox: "write" },
    createBuckets: false,
  });
  expect(formatGrants(grants)).toBe("read:* read:photos write:inbox");
  expect(formatGrants(grantsOf(none))).toBe("nothing");
});

test("grantsOf refuses what can be no bucket: a grant for it would be kept and mean nothing", () => {
  for (const name of ["Photos", "a", "my bucket", "__proto__", "photos/2026", "10.0.0.1", ""]) {
    expect(() => grantsOf({ ...none, read: [name] }), name).toThrow("Cannot use the bucket name");
  }
});

test("parseEnd takes spans, dates to come and never; nothing else", () => {
  const now = Date.UTC(2026, 0, 1);
  expect(parseEnd("never", now)).toBeNull();
  expect(parseEnd("90d", now)).toBe(now + 90 * 86_400_000);
  expect(parseEnd("45m", now)).toBe(now + 45 * 60_000);
  expect(parseEnd("2026-01-02", now)).toBe(Date.UTC(2026, 0, 2));
  for (const text of ["", "0d", "-1d", "1w", "2025-12-31", "soon", "1e9d", "999999d"]) {
    expect(() => parseEnd(text, now), text).toThrow("Cannot use --expires");
  }
});

test("requireKeyId takes what a key can be called", () => {
  expect(requireKeyId("RS0123456789ABCDEF01")).toBe("RS0123456789ABCDEF01");
  for (const id of ["", "ab", "a/b", "a b", "ä".repeat(5), "x".repeat(129)]) {
    expect(() => requireKeyId(id), id).toThrow("Cannot find the access key");
  }
});
