import { type Grants } from "../../../shared/records.ts";

/** May make buckets and owns those; nothing else. */
export const OWN_BUCKETS: Grants = { buckets: {}, createBuckets: true };
