import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CrcAlgorithm, combineCrcs, isCrc } from "../../../shared/crc-combine.ts";
import { toHex } from "../../../shared/ids.ts";
import { nodeDigest } from "../../../node/runtime/node-digest.ts";

function crcOf(algorithm: CrcAlgorithm, pieces: readonly Uint8Array[]): bigint {
  const hasher = nodeDigest.start(algorithm);
  for (const piece of pieces) hasher.update(piece);
  return BigInt(`0x${toHex(hasher.digest())}`);
}

describe.each(["crc32", "crc32c", "crc64nvme"] as const)("combineCrcs of %s", (algorithm) => {
  it("gives the CRC of the bytes joined, whatever the pieces' sizes", () => {
    const pieces = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
    fc.assert(
      fc.property(pieces, (all) => {
        const parts = all.map((piece) => ({ crc: crcOf(algorithm, [piece]), size: piece.length }));
        expect(combineCrcs(algorithm, parts)).toBe(crcOf(algorithm, all));
      }),
      { numRuns: 100 },
    );
  });

  it("holds for pieces of megabytes", () => {
    const big = new Uint8Array(5 * 1024 * 1024 + 3).map((_, i) => i * 7 + (i >> 8));
    const small = big.subarray(1, 1000);
    const parts = [small, big, big, small].map((bytes) => ({
      crc: crcOf(algorithm, [bytes]),
      size: bytes.length,
    }));
    expect(combineCrcs(algorithm, parts)).toBe(crcOf(algorithm, [small, big, big, small]));
  });

  it("takes 5 GiB lengths: a shift by them is the shifts by their halves", () => {
    const half = 5 * 1024 ** 3 + 1;
    const crc = 0x1234567n;
    const once = combineCrcs(algorithm, [
      { crc, size: 1 },
      { crc: 0n, size: 2 * half },
    ]);
    const twice = combineCrcs(algorithm, [
      { crc, size: 1 },
      { crc: 0n, size: half },
      { crc: 0n, size: half },
    ]);
    expect(once).toBe(twice);
    expect(once).not.toBe(crc);
  });
});

describe("isCrc", () => {
  it("tells CRCs from hashes", () => {
    expect(["crc32", "crc32c", "crc64nvme", "sha1", "sha256"].map(isCrc)).toEqual([
      true,
      true,
      true,
      false,
      false,
    ]);
  });
});
