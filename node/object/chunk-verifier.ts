// Verifies the signatures of an aws-chunked body. Each signature covers its chunk's bytes and the signature before,
// beginning with the request's own; the last, empty chunk and the trailer end the chain, so nothing can be changed,
// left out or put elsewhere. Bytes may flow on before their signature is known; the decoding fails before its end.
// Source: "Signature calculations for the authorization header: transferring payload in multiple chunks", and
// "... including trailing headers" (S3 API reference).
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { RingstowError } from "../../shared/errors.ts";
import { toHex } from "../../shared/ids.ts";
import { type ChunkSigning } from "../../shared/object-service.ts";
import { openSecret } from "../../shared/sealed-secret.ts";
import { type Digest, type Hasher } from "../ports.ts";

const encoder = new TextEncoder();
const EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** Name of the trailer that signs the others. */
export const trailerSignatureName = "x-amz-trailer-signature";

export class ChunkVerifier {
  readonly #signing: ChunkSigning;
  readonly #key: Uint8Array;
  readonly #digest: Digest;
  #previous: string;
  #open: { readonly claimed: string | undefined; readonly hasher: Hasher } | undefined;

  /** Throws AccessDenied when the key was not sealed under `hopSecret` for this request. */
  constructor(signing: ChunkSigning, hopSecret: Uint8Array, digest: Digest) {
    const { scope, timestamp, sealedKey } = signing;
    this.#signing = signing;
    this.#key = openSecret(hopSecret, `chunk signing\n${scope}\n${timestamp}`, sealedKey);
    this.#digest = digest;
    this.#previous = signing.seed;
  }

  /** A chunk begins, the one before is over. Throws ChunkSignatureMismatch. */
  begin(size: number, claimed: string | undefined): void {
    this.#endChunk();
    this.#open = { claimed, hasher: this.#digest.start("sha256") };
    if (size === 0) this.#endChunk();
  }

  /** Bytes of the chunk that began last. */
  data(bytes: Uint8Array): void {
    this.#open?.hasher.update(bytes);
  }

  /** After the last chunk; `trailers` without their signature, in the order sent. Throws ChunkSignatureMismatch. */
  trailer(trailers: readonly (readonly [string, string])[], claimed: string): void {
    const text = trailers.map(([name, value]) => `${name}:${value}\n`).join("");
    const hasher = this.#digest.start("sha256");
    hasher.update(encoder.encode(text));
    this.#check("AWS4-HMAC-SHA256-TRAILER", [toHex(hasher.digest())], claimed);
  }

  #endChunk(): void {
    const chunk = this.#open;
    if (!chunk) return;
    this.#open = undefined;
    const hash = toHex(chunk.hasher.digest());
    this.#check("AWS4-HMAC-SHA256-PAYLOAD", [EMPTY_SHA256, hash], chunk.claimed);
  }

  #check(kind: string, hashes: readonly string[], claimed: string | undefined): void {
    const { timestamp, scope } = this.#signing;
    const text = [kind, timestamp, scope, this.#previous, ...hashes].join("\n");
    const expected = toHex(hmac(sha256, this.#key, encoder.encode(text)));
    if (claimed === undefined || !isSame(expected, claimed)) {
      throw new RingstowError("ChunkSignatureMismatch");
    }
    this.#previous = expected;
  }
}

/** In a time that does not tell where they differ. */
function isSame(expected: string, claimed: string): boolean {
  if (claimed.length !== expected.length) return false;
  let difference = 0;
  for (let i = 0; i < expected.length; i++) {
    difference |= expected.charCodeAt(i) ^ claimed.charCodeAt(i);
  }
  return difference === 0;
}
