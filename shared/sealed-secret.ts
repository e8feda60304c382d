// Secrets that cross the wire or lie in the ring: sealed by XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha), whose nonce
// of 24 random bytes may be drawn at every sealing. `about` is bound to the seal: a sealed secret that is moved to
// another record does not open.
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { RingstowError, assert } from "./errors.ts";

const encoder = new TextEncoder();
const nonceBytes = 24;

/**
 * Base64 of nonce and ciphertext.
 * @param key 32 bytes with this one purpose
 * @param nonce 24 random bytes, never used before
 */
export function sealSecret(
  key: Uint8Array,
  nonce: Uint8Array,
  about: string,
  secret: Uint8Array,
): string {
  assert(nonce.length === nonceBytes, "a nonce has 24 bytes");
  const sealed = xchacha20poly1305(key, nonce, encoder.encode(about)).encrypt(secret);
  const all = new Uint8Array(nonceBytes + sealed.length);
  all.set(nonce);
  all.set(sealed, nonceBytes);
  return btoa(String.fromCharCode(...all));
}

/** The secret. Throws AccessDenied when the seal was made with another key or for something else, or is damaged. */
export function openSecret(key: Uint8Array, about: string, sealed: string): Uint8Array {
  try {
    const all = Uint8Array.from(atob(sealed), (character) => character.charCodeAt(0));
    const nonce = all.subarray(0, nonceBytes);
    return xchacha20poly1305(key, nonce, encoder.encode(about)).decrypt(all.subarray(nonceBytes));
  } catch {
    throw new RingstowError("AccessDenied", "Cannot open a sealed secret: it is not of this key");
  }
}
