// Records as a gateway knows them: read from the nodes and kept for seconds, so that a request costs no call for what it
// needs to know before it begins. A record that is not fresh is read again behind a request's back; one that is stale
// before the request goes on, but then for `recordWaitMs` at most: while no node tells it, it serves as it was.
// Invariants: no request waits for another one's call, and what no request waits for may be cut off: edge runtimes
// forbid the one and do the other. What is kept is bounded.
import { LRUCache } from "lru-cache";
import { RingstowError } from "../shared/errors.ts";
import {
  recordFailedMs,
  recordFreshMs,
  recordRefreshPauseMs,
  recordStaleMs,
  recordUnreachableMs,
  recordWaitMs,
} from "../shared/limits.ts";
import { inTime } from "./in-time.ts";

export interface RecordCacheOptions {
  /** Records kept. */
  readonly max: number;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  /** Told of work that no request waits for and that failed, but for what nodes refuse. */
  readonly reportFault?: ((error: unknown) => void) | undefined;
}

interface Kept<T> {
  readonly record: T;
  /** When it was asked for: what was answered may be as old as that. */
  readonly readMs: number;
  /** When it was asked for again behind a request's back. Where that was cut off, it is after a pause. */
  refreshMs: number;
  /** When no node told it. For a while then no request waits for it. */
  failedMs: number;
}

export class RecordCache<T extends object> {
  readonly #options: RecordCacheOptions;
  readonly #kept: LRUCache<string, Kept<T>>;

  constructor(options: RecordCacheOptions) {
    this.#options = options;
    this.#kept = new LRUCache({ max: options.max });
  }

  /**
   * The record, at once when it is fresh enough; else as `read` gives it. Throws what `read` throws, but for what is
   * retryable while a record that is not too old is known.
   */
  find(id: string, read: () => Promise<T>): T | Promise<T> {
    const kept = this.#kept.get(id);
    if (!kept) return this.#read(id, read);
    const nowMs = this.#options.wallMs();
    const ageMs = passed(kept.readMs, nowMs);
    if (ageMs < recordFreshMs) return kept.record;
    if (ageMs >= recordUnreachableMs) return this.#read(id, read);
    const failed = passed(kept.failedMs, nowMs) < recordFailedMs;
    if (ageMs >= recordStaleMs && !failed) return this.#readInTime(id, kept, read);
    if (passed(kept.refreshMs, nowMs) >= recordRefreshPauseMs) {
      kept.refreshMs = nowMs;
      this.#readOr(id, kept, read).catch((error: unknown) => {
        if (!(error instanceof RingstowError)) this.#options.reportFault?.(error);
      });
    }
    return kept.record;
  }

  /** A record as a node just told it. */
  set(id: string, record: T, readMs = this.#options.wallMs()): void {
    this.#kept.set(id, { record, readMs, refreshMs: readMs, failedMs: Number.NEGATIVE_INFINITY });
  }

  /** Forgets a record, but not one that replaced it meanwhile. */
  evict(id: string, isStale: (record: T) => boolean = () => true): void {
    const kept = this.#kept.peek(id);
    if (kept && isStale(kept.record)) this.#kept.delete(id);
  }

  async #read(id: string, read: () => Promise<T>): Promise<T> {
    const readMs = this.#options.wallMs();
    const record = await read();
    const kept = this.#kept.peek(id);
    // One that was asked for later may have come before.
    if (!kept || kept.readMs <= readMs) this.set(id, record, readMs);
    return record;
  }

  async #readInTime(id: string, kept: Kept<T>, read: () => Promise<T>): Promise<T> {
    const found = await inTime(recordWaitMs, this.#readOr(id, kept, read));
    if (found) return found.value;
    kept.failedMs = this.#options.wallMs();
    return kept.record;
  }

  /** As `read`; the kept record when no node tells one. */
  async #readOr(id: string, kept: Kept<T>, read: () => Promise<T>): Promise<T> {
    try {
      return await this.#read(id, read);
    } catch (error) {
      if (!(error instanceof RingstowError) || error.code === "Internal") throw error;
      if (!error.retryable) {
        this.evict(id, (record) => record === kept.record);
        throw error;
      }
      kept.failedMs = this.#options.wallMs();
      return kept.record;
    }
  }
}

/** Milliseconds since a moment; infinite after a clock was set back: then everything is old. */
export function passed(sinceMs: number, nowMs: number): number {
  return nowMs >= sinceMs ? nowMs - sinceMs : Number.POSITIVE_INFINITY;
}
