// The Digest port over Node's own hashes.
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { type Digest } from "../ports.ts";

/** Streaming MD5 and SHA-256, and zlib's CRC-32. Deterministic, so the simulator uses it too. */
export const nodeDigest: Digest = {
  start(algorithm) {
    const hash = createHash(algorithm);
    return {
      update: (chunk) => void hash.update(chunk),
      digest: () => new Uint8Array(hash.digest()),
    };
  },
  crc32: (chunk, previous) => crc32(chunk, previous),
};
