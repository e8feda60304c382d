// Bucket records, kept for a few seconds. A record may be stale: the bucket's id in it then names nothing, the nodes
// answer NoSuchBucket, and the caller asks again (call.ts). A stale record never reads or writes another bucket.
import { LRUCache } from "lru-cache";
import { bucketCacheMax, bucketCacheMs } from "../../shared/limits.ts";
import { type Bucket } from "../../shared/records.ts";

export class BucketCache {
  readonly #records = new LRUCache<string, { bucket: Bucket; untilMs: number }>({
    max: bucketCacheMax,
  });

  get(name: string, nowMs: number): Bucket | undefined {
    const record = this.#records.get(name);
    // The clock may be set back: a record is never kept longer for that.
    const leftMs = record === undefined ? 0 : record.untilMs - nowMs;
    return leftMs > 0 && leftMs <= bucketCacheMs ? record?.bucket : undefined;
  }

  set(bucket: Bucket, nowMs: number): void {
    this.#records.set(bucket.name, { bucket, untilMs: nowMs + bucketCacheMs });
  }

  /** Forgets a record, but not one that replaced it meanwhile. */
  evict(stale: Bucket): void {
    if (this.#records.peek(stale.name)?.bucket.id === stale.id) this.#records.delete(stale.name);
  }
}
