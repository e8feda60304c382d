import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nodeSha256 } from "../../../node/runtime/node-sha256.ts";
import { pureSha256, type Sha256 } from "../../../shared/sha256.ts";

describe.each<[string, Sha256]>([
  ["pureSha256", pureSha256],
  ["nodeSha256", nodeSha256],
])("%s", (_, sha256) => {
  test("hash is FIPS 180-2's example", () => {
    const digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    expect(sha256.hash("abc")).toBe(digest);
    expect(sha256.hash(Uint8Array.of(0x61, 0x62, 0x63))).toBe(digest);
  });

  test("keyed is RFC 4231's test case 2, in pieces or not, again and again", () => {
    const sign = sha256.keyed(new TextEncoder().encode("Jefe"));
    const mac = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    expect(sign("what do ya want for nothing?")).toBe(mac);
    expect(sign("what do ya want", new TextEncoder().encode(" for nothing?"))).toBe(mac);
  });
});

test("both give the same digests of any text, also of one that is no well-formed Unicode", () => {
  const key = fc.uint8Array({ minLength: 1, maxLength: 80 });
  const text = fc.string({
    unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
  });
  fc.assert(
    fc.property(key, text, (secret, message) => {
      expect(nodeSha256.hash(message)).toBe(pureSha256.hash(message));
      expect(nodeSha256.keyed(secret)(message)).toBe(pureSha256.keyed(secret)(message));
    }),
  );
});
