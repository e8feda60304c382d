// What an access key may do: one table from operations to the permission that they need in a bucket.
import { type Bucket, type Grants, type Permission } from "../../shared/records.ts";
import { type Operation } from "../s3/operation.ts";

/** Permission that an operation needs in the bucket that it names; a copy also reads its source. */
export const NEEDED: Record<Exclude<Operation, "ListBuckets" | "CreateBucket">, Permission> = {
  HeadBucket: "read",
  DeleteBucket: "owner",
  GetBucketLocation: "read",
  GetBucketVersioning: "read",
  GetBucketAcl: "owner",
  GetBucketPolicy: "owner",
  GetObjectLockConfiguration: "read",
  ListObjects: "read",
  ListObjectsV2: "read",
  ListMultipartUploads: "read",
  DeleteObjects: "write",
  GetObject: "read",
  HeadObject: "read",
  PutObject: "write",
  CopyObject: "write",
  DeleteObject: "write",
  GetObjectAcl: "read",
  GetObjectAttributes: "read",
  CreateMultipartUpload: "write",
  UploadPart: "write",
  UploadPartCopy: "write",
  CompleteMultipartUpload: "write",
  AbortMultipartUpload: "write",
  ListParts: "read",
};

const RANK: Record<Permission, number> = { read: 1, write: 2, owner: 3 };

/** A key that has made a bucket owns it; others have what they were given. */
export function isAllowed(
  key: { readonly accessKeyId: string; readonly grants: Grants },
  bucket: Pick<Bucket, "name" | "owner">,
  needed: Permission,
): boolean {
  if (bucket.owner === key.accessKeyId) return true;
  const { all, buckets } = key.grants;
  const here = Object.hasOwn(buckets, bucket.name) ? buckets[bucket.name] : undefined;
  const rank = Math.max(all ? RANK[all] : 0, here ? RANK[here] : 0);
  return rank >= RANK[needed];
}
