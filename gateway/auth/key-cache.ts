// Access keys as a gateway knows them: read from the ring, opened, and kept as record-cache.ts keeps records, so that a
// request with a known key costs no call. Invariants: a deleted, limited or expired key is refused after at most
// `recordStaleMs` where nodes answer in time; while none does, a key that was good stays so for at most
// `recordUnreachableMs`; what is kept is bounded, also under a flood of invented ids.
import { LRUCache } from "lru-cache";
import { RingstowError } from "../../shared/errors.ts";
import { type RequestId } from "../../shared/ids.ts";
import { type KeyService, sealedFor } from "../../shared/key-service.ts";
import { keyTouchMs, keyUnknownMs, keysCachedMax } from "../../shared/limits.ts";
import { type AccessKey } from "../../shared/records.ts";
import { openSecret } from "../../shared/sealed-secret.ts";
import { RecordCache, passed } from "../record-cache.ts";
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

const decoder = new TextDecoder();

export class KeyCache {
  readonly #options: KeyCacheOptions;
  readonly #known: RecordCache<Credential>;
  /** When it was asked for ids that name no key. */
  readonly #unknown = new LRUCache<string, number>({ max: keysCachedMax });
  readonly #touched = new LRUCache<string, number>({ max: keysCachedMax });

  constructor(options: KeyCacheOptions) {
    this.#options = options;
    this.#known = new RecordCache({ ...options, max: keysCachedMax });
  }

  /** The credential of an access key, at once when it is known; undefined when there is none. Throws Unavailable. */
  find = (id: string): Credential | undefined | Promise<Credential | undefined> => {
    const nowMs = this.#options.wallMs();
    const unknownMs = this.#unknown.get(id);
    // A clock that was set back makes everything old.
    if (unknownMs !== undefined && passed(unknownMs, nowMs) < keyUnknownMs) return undefined;
    const found = this.#known.find(id, async () =>
      this.#open(await this.#options.keys.getKey({ id })),
    );
    return found instanceof Promise ? this.#orNone(id, found, nowMs) : found;
  };

  async #orNone(
    id: string,
    found: Promise<Credential>,
    askedMs: number,
  ): Promise<Credential | undefined> {
    try {
      return await found;
    } catch (error) {
      if (!(error instanceof RingstowError && error.code === "NoSuchAccessKey")) throw error;
      this.#unknown.set(id, askedMs);
      return undefined;
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
    // No request waits for it. That a node did not answer is no fault: the next use tries again.
    this.#options.keys.touchKey({ id, usedMs, requestId }).catch((error: unknown) => {
      if (!(error instanceof RingstowError)) this.#options.reportFault?.(error);
    });
  }
}
