// Access keys as a gateway knows them: read from the ring, opened, and kept for seconds, so that a request with a known
// key costs no call. Invariants: a deleted, limited or expired key is refused after at most `keyStaleMs`; while no node
// answers, a key that was good stays so for at most `keyUnreachableMs`; what is kept is bounded, also under a flood of
// invented ids. No request waits for another one's call: edge runtimes forbid that.
import { LRUCache } from "lru-cache";
import { RingstowError } from "../../shared/errors.ts";
import { type RequestId } from "../../shared/ids.ts";
import { type KeyService, sealedFor } from "../../shared/key-service.ts";
import {
  keyFreshMs,
  keyRefreshPauseMs,
  keyStaleMs,
  keyTouchMs,
  keyUnknownMs,
  keyUnreachableMs,
  keysCachedMax,
} from "../../shared/limits.ts";
import { type AccessKey } from "../../shared/records.ts";
import { openSecret } from "../../shared/sealed-secret.ts";
import { type Credential } from "./keys.ts";

export interface KeyCacheOptions {
  readonly keys: Pick<KeyService, "getKey" | "touchKey">;
  /** ClusterSecrets.keyEncryption. */
  readonly keyEncryption: Uint8Array;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  readonly newRequestId: () => RequestId;
  /** Told of work that no request waits for and that failed. */
  readonly reportFault?: ((error: unknown) => void) | undefined;
}

interface Kept {
  /** undefined: there is no such key. */
  readonly credential: Credential | undefined;
  readonly readMs: number;
  /** When a refresh behind a request's back began. One that was cut off is begun again after a pause. */
  refreshMs: number;
}

const decoder = new TextDecoder();

export class KeyCache {
  readonly #options: KeyCacheOptions;
  readonly #kept = new LRUCache<string, Kept>({ max: keysCachedMax });
  readonly #touched = new LRUCache<string, number>({ max: keysCachedMax });

  constructor(options: KeyCacheOptions) {
    this.#options = options;
  }

  /** The credential of an access key, at once when it is known; undefined when there is none. Throws Unavailable. */
  find = (id: string): Credential | undefined | Promise<Credential | undefined> => {
    const nowMs = this.#options.wallMs();
    const kept = this.#kept.get(id);
    if (!kept) return this.#read(id);
    // A clock that was set back makes everything old.
    const ageMs = nowMs >= kept.readMs ? nowMs - kept.readMs : Number.POSITIVE_INFINITY;
    if (!kept.credential) return ageMs < keyUnknownMs ? undefined : this.#read(id);
    if (ageMs < keyFreshMs) return kept.credential;
    if (ageMs >= keyStaleMs) return this.#readOr(id, kept, ageMs);
    if (nowMs - kept.refreshMs >= keyRefreshPauseMs) {
      kept.refreshMs = nowMs;
      this.#behind(this.#readOr(id, kept, ageMs));
    }
    return kept.credential;
  };

  async #read(id: string): Promise<Credential | undefined> {
    // The time before the call: what it answers may be as old as that.
    const readMs = this.#options.wallMs();
    let credential: Credential | undefined;
    try {
      credential = this.#open(await this.#options.keys.getKey({ id }));
    } catch (error) {
      if (!(error instanceof RingstowError && error.code === "NoSuchAccessKey")) throw error;
    }
    this.#kept.set(id, { credential, readMs, refreshMs: 0 });
    return credential;
  }

  async #readOr(id: string, kept: Kept, ageMs: number): Promise<Credential | undefined> {
    try {
      return await this.#read(id);
    } catch (error) {
      const silent = error instanceof RingstowError && error.retryable;
      if (silent && ageMs < keyUnreachableMs) return kept.credential;
      throw error;
    }
  }

  #open(key: AccessKey): Credential {
    const secret = openSecret(this.#options.keyEncryption, sealedFor(key.id), key.sealedSecret);
    return {
      secretAccessKey: decoder.decode(secret),
      grants: key.grants,
      expiresMs: key.expiresMs,
      used: () => this.#touch(key.id),
    };
  }

  #touch(id: string): void {
    const usedMs = this.#options.wallMs();
    const lastMs = this.#touched.get(id);
    if (lastMs !== undefined && Math.abs(usedMs - lastMs) < keyTouchMs) return;
    this.#touched.set(id, usedMs);
    const requestId = this.#options.newRequestId();
    this.#behind(this.#options.keys.touchKey({ id, usedMs, requestId }));
  }

  /** Work that no request waits for. That a node did not answer is no fault: the next use tries again. */
  #behind(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      if (!(error instanceof RingstowError)) this.#options.reportFault?.(error);
    });
  }
}
