// Operations on buckets, and the questions about features that a bucket does not have here.
import { bucketPagesMax, bucketsListedMax, listKeysMax } from "../../shared/limits.ts";
import { type Bucket } from "../../shared/records.ts";
import { isAllowed } from "../auth/permissions.ts";
import { emptyAnswer, xmlAnswer } from "./answer.ts";
import { type Call } from "./call.ts";
import { S3Error } from "./errors.ts";
import { refuseUnsupported } from "./headers.ts";
import { formatIsoDate } from "./http-date.ts";
import { readListToken, writeListToken } from "./list-token.ts";
import { keyText, pageSize } from "./parameters.ts";
import { readSmallBody } from "./small-body.ts";
import { readXml } from "./xml-read.ts";
import { type XmlElement } from "./xml-write.ts";

const GRANTEE = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"';

/** PUT /bucket. Any LocationConstraint is accepted: data lies where the nodes are. */
export async function createBucket(call: Call): Promise<Response> {
  refuseUnsupported(call.headers);
  if (!call.auth.grants.createBuckets) throw new S3Error("AccessDenied");
  const body = await readSmallBody(call);
  if (body.length > 0) readXml(body, "CreateBucketConfiguration");
  const name = call.route.bucket;
  const bucket = await call.service.createBucket({
    name,
    owner: call.auth.accessKeyId,
    requestId: call.requestId(),
  });
  call.rememberBucket(bucket);
  const headers = call.newHeaders();
  headers.set("location", `/${name}`);
  return emptyAnswer(call, 200, headers);
}

export async function headBucket(call: Call): Promise<Response> {
  return call.inBucket(async () => {
    const headers = call.newHeaders();
    headers.set("x-amz-bucket-region", call.config.region);
    return emptyAnswer(call, 200, headers);
  });
}

export async function deleteBucket(call: Call): Promise<Response> {
  return call.inBucket(async ({ record }) => {
    await call.service.deleteBucket({ name: record.name, requestId: call.requestId() });
    call.forgetBucket(record);
    return emptyAnswer(call, 204);
  });
}

/** us-east-1 is the empty constraint, as in S3. */
export async function getBucketLocation(call: Call): Promise<Response> {
  const { region } = call.config;
  return call.inBucket(async () =>
    xmlAnswer(call, "LocationConstraint", region === "us-east-1" ? "" : region),
  );
}

/** A bucket that never had versioning. */
export async function getBucketVersioning(call: Call): Promise<Response> {
  return call.inBucket(async () => xmlAnswer(call, "VersioningConfiguration", ""));
}

/** What a bucket with ACLs disabled answers: its owner has full control. Serves GetObjectAcl too. */
export function aclAnswer(call: Call, bucket: Bucket): Response {
  const owner = ownerElements(bucket.owner);
  const grants: readonly XmlElement[] = [
    ["Grantee", owner, GRANTEE],
    ["Permission", "FULL_CONTROL"],
  ];
  return xmlAnswer(call, "AccessControlPolicy", [
    ["Owner", owner],
    ["AccessControlList", [["Grant", grants]]],
  ]);
}

export async function getBucketAcl(call: Call): Promise<Response> {
  return call.inBucket(async ({ record }) => aclAnswer(call, record));
}

export async function getBucketPolicy(call: Call): Promise<Response> {
  return call.inBucket(async ({ record }) => {
    throw new S3Error("NoSuchBucketPolicy", undefined, { BucketName: record.name });
  });
}

export async function getObjectLockConfiguration(call: Call): Promise<Response> {
  return call.inBucket(async ({ record }) => {
    throw new S3Error("ObjectLockConfigurationNotFoundError", undefined, {
      BucketName: record.name,
    });
  });
}

export function ownerElements(owner: string): readonly XmlElement[] {
  return [
    ["ID", owner],
    ["DisplayName", owner],
  ];
}

/** GET /: the buckets that the caller may read, by name. */
export async function listBuckets(call: Call): Promise<Response> {
  const prefix = keyText(call, "prefix");
  const limit = pageSize(call, "max-buckets", bucketsListedMax);
  if (limit === 0) throw new S3Error("InvalidArgument", "max-buckets must be at least 1");
  const question = { bucket: "", prefix, delimiter: "" };
  const token = call.query("continuation-token");
  const secret = call.config.tokenSecret;
  const start = token ? readListToken(secret, question, token).after : undefined;
  const { buckets, next } = await readableBuckets(call, prefix, start, limit);
  return xmlAnswer(call, "ListAllMyBucketsResult", [
    ["Owner", ownerElements(call.auth.accessKeyId)],
    ["Buckets", buckets.map((bucket): XmlElement => ["Bucket", bucketElements(bucket)])],
    ["Prefix", prefix === "" ? undefined : prefix],
    [
      "ContinuationToken",
      next && writeListToken(secret, question, { after: next, afterPrefix: false }),
    ],
  ]);
}

function bucketElements(bucket: Bucket): readonly XmlElement[] {
  return [
    ["Name", bucket.name],
    ["CreationDate", formatIsoDate(bucket.createdMs)],
  ];
}

/** Buckets that the caller may read, by name. */
export async function readableBuckets(
  call: Call,
  prefix: string,
  start: string | undefined,
  limit: number,
): Promise<{ buckets: readonly Bucket[]; next: string | undefined }> {
  const buckets: Bucket[] = [];
  let after = start;
  for (let page = 0; page < bucketPagesMax; page++) {
    const found = await call.service.listBuckets({ after, limit: listKeysMax });
    for (const bucket of found.buckets) {
      const wanted = isAllowed(call.auth, bucket, "read") && bucket.name.startsWith(prefix);
      if (wanted && buckets.length === limit) return { buckets, next: buckets.at(-1)?.name };
      if (wanted) buckets.push(bucket);
      after = bucket.name;
    }
    if (!found.truncated || found.buckets.length === 0) return { buckets, next: undefined };
  }
  return { buckets, next: after };
}
