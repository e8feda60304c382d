// Secrets and what is derived from them. A signing key holds for one access key, day and region; deriving it takes
// four HMACs, so it is cached.
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { LRUCache } from "lru-cache";
import { signingKeysMax } from "../../shared/limits.ts";
import { type Grants } from "../../shared/records.ts";
import { keyedSha256 } from "../../shared/sha256.ts";

export interface Credential {
  readonly secretAccessKey: string;
  readonly grants: Grants;
  /** Wall ms from which on the key is refused. */
  readonly expiresMs?: number | undefined;
  /** Called when a request proved to be signed by this key. */
  readonly used?: (() => void) | undefined;
}

/** Finds an access key; undefined when there is none. */
export type FindCredential = (
  accessKeyId: string,
) => Credential | undefined | Promise<Credential | undefined>;

export interface CredentialScope {
  readonly accessKeyId: string;
  /** YYYYMMDD. */
  readonly date: string;
  readonly region: string;
  readonly service: string;
}

const encoder = new TextEncoder();

/** HMAC-SHA256. */
export function hmacSha256(key: Uint8Array, data: Uint8Array): Uint8Array {
  return hmac(sha256, key, data);
}

function deriveKey(secret: string, scope: CredentialScope): Uint8Array {
  let key: Uint8Array = encoder.encode(`AWS4${secret}`);
  for (const step of [scope.date, scope.region, scope.service, "aws4_request"]) {
    key = hmacSha256(key, encoder.encode(step));
  }
  return key;
}

export interface SigningKey {
  /** 32 bytes. */
  readonly bytes: Uint8Array;
  /** Signs a message: 64 hex digits. */
  readonly sign: ReturnType<typeof keyedSha256>;
}

/** One-day signing keys (SigV4's kSigning), cached. */
export class SigningKeys {
  readonly #keys = new LRUCache<string, { secret: string; key: SigningKey }>({
    max: signingKeysMax,
  });

  /** A changed secret derives anew. */
  get(secret: string, scope: CredentialScope): SigningKey {
    const name = `${scope.accessKeyId}/${scope.date}/${scope.region}/${scope.service}`;
    const known = this.#keys.get(name);
    if (known?.secret === secret) return known.key;
    const bytes = deriveKey(secret, scope);
    const key: SigningKey = { bytes, sign: keyedSha256(bytes) };
    this.#keys.set(name, { secret, key });
    return key;
  }
}
