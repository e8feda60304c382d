import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toHex } from "../../../../shared/ids.ts";
import { nodeDigest } from "../../../../node/runtime/node-digest.ts";

const ALGORITHMS = ["md5", "crc32", "crc32c", "crc64nvme", "sha1", "sha256"] as const;

function digestOf(algorithm: (typeof ALGORITHMS)[number], bytes: Uint8Array): string {
  const hasher = nodeDigest.start(algorithm);
  hasher.update(bytes);
  return toHex(hasher.digest());
}

describe("nodeDigest", () => {
  // Check values of the CRC catalogue; of RFC 1321, RFC 3174 and FIPS 180-4's functions by their reference tools.
  it.each([
    ["md5", "25f9e794323b453885f5181f1b624d0b"],
    ["crc32", "cbf43926"],
    ["crc32c", "e3069283"],
    ["crc64nvme", "ae8b14860a799888"],
    ["sha1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"],
    ["sha256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"],
  ] as const)("gives the known %s of 123456789", (algorithm, expected) => {
    expect(digestOf(algorithm, new TextEncoder().encode("123456789"))).toBe(expected);
  });

  it("keeps streams of one algorithm apart, however they take turns", () => {
    const chunks = fc.array(
      fc.tuple(fc.integer({ min: 0, max: 3 }), fc.uint8Array({ maxLength: 100 })),
    );
    fc.assert(
      fc.property(fc.constantFrom(...ALGORITHMS), chunks, (algorithm, turns) => {
        const streams = [0, 1, 2, 3].map(() => nodeDigest.start(algorithm));
        for (const [stream, bytes] of turns) streams[stream]!.update(bytes);
        streams.forEach((stream, i) => {
          const own = turns.filter(([of]) => of === i).flatMap(([, bytes]) => [...bytes]);
          expect(toHex(stream.digest())).toBe(digestOf(algorithm, Uint8Array.from(own)));
        });
      }),
      { numRuns: 200 },
    );
  });

  it("takes chunks longer than the memory of its WebAssembly", () => {
    const bytes = new Uint8Array(100_000).map((_, i) => i);
    for (const algorithm of ["crc32c", "crc64nvme"] as const) {
      const hasher = nodeDigest.start(algorithm);
      for (let at = 0; at < bytes.length; at += 7_777) {
        hasher.update(bytes.subarray(at, at + 7_777));
      }
      expect(digestOf(algorithm, bytes)).toBe(toHex(hasher.digest()));
    }
  });
});
