// SHA-256 and HMAC-SHA256 of short messages, synchronously on every runtime: pure code, unless the process has put its
// runtime's own in its place, which gives the same digests at a fraction of the cost.
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { toHex } from "./ids.ts";

/** A text stands for its bytes in UTF-8. */
export type Message = string | Uint8Array;

export interface Sha256 {
  /** 64 lower-case hex digits. */
  hash(message: Message): string;
  /** The MAC of messages by one key: 64 lower-case hex digits over the pieces one after another. */
  keyed(key: Uint8Array): (...pieces: Message[]) => string;
}

const encoder = new TextEncoder();
const bytesOf = (message: Message): Uint8Array =>
  typeof message === "string" ? encoder.encode(message) : message;

export const pureSha256: Sha256 = {
  hash: (message) => toHex(sha256(bytesOf(message))),
  keyed(key) {
    const begun = hmac.create(sha256, key); // the key's two blocks are hashed once
    return (...pieces) => {
      const mac = begun.clone();
      for (const piece of pieces) mac.update(bytesOf(piece));
      return toHex(mac.digest());
    };
  },
};

let present = pureSha256;

/** For a process's entry point, before anything is hashed. */
export function useSha256(implementation: Sha256): void {
  present = implementation;
}

export const sha256Hex: Sha256["hash"] = (message) => present.hash(message);
export const keyedSha256: Sha256["keyed"] = (key) => present.keyed(key);
