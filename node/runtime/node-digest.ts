// The Digest port over Node's own hashes.
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { type Digest } from "../ports.ts";

export const nodeDigest: Digest = {
  start(algorithm) {
    const hash = createHash(algorithm);
    return {
      update: (chunk) => void hash.update(chunk),
      digest: () => hash.digest(),
    };
  },
  crc32: (chunk, previous) => crc32(chunk, previous),
};
