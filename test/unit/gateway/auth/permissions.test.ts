import { expect, test } from "vitest";
import { NEEDED, isAllowed } from "../../../../gateway/auth/permissions.ts";
import { OPERATIONS } from "../../../../gateway/s3/operation.ts";
import { type Grants, type Permission } from "../../../../shared/records.ts";

const bucket = { name: "photos", owner: "maker" };
const permissions: readonly Permission[] = ["read", "write", "owner"];

test("every operation in a bucket needs a permission", () => {
  const inBucket = OPERATIONS.filter((one) => one !== "ListBuckets" && one !== "CreateBucket");
  expect(Object.keys(NEEDED).toSorted()).toEqual([...inBucket].toSorted());
});

test("isAllowed: each permission includes the weaker ones, everywhere or in its bucket alone", () => {
  for (const [given, grant] of permissions.entries()) {
    for (const [wanted, needed] of permissions.entries()) {
      const all: Grants = { all: grant, buckets: {}, createBuckets: false };
      const here: Grants = { buckets: { photos: grant }, createBuckets: false };
      const elsewhere: Grants = { buckets: { other: grant }, createBuckets: false };
      for (const grants of [all, here]) {
        expect(isAllowed({ accessKeyId: "key", grants }, bucket, needed)).toBe(given >= wanted);
      }
      expect(isAllowed({ accessKeyId: "key", grants: elsewhere }, bucket, needed)).toBe(false);
    }
  }
});

test("isAllowed: who made a bucket owns it, a grant by a name of every object's does not count", () => {
  const none: Grants = { buckets: {}, createBuckets: true };
  expect(isAllowed({ accessKeyId: "maker", grants: none }, bucket, "owner")).toBe(true);
  const inherited = { name: "constructor", owner: "maker" };
  expect(isAllowed({ accessKeyId: "key", grants: none }, inherited, "read")).toBe(false);
});
