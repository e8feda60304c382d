// Which operation a request asks for: one pure function of method, path and query. What is not listed here is
// NotImplemented; an unknown sub-resource must never be mistaken for PutObject.
import { S3Error } from "./errors.ts";
import { type Query } from "./target.ts";

export const OPERATIONS = [
  "ListBuckets",
  "CreateBucket",
  "HeadBucket",
  "DeleteBucket",
  "GetBucketLocation",
  "GetBucketVersioning",
  "GetBucketAcl",
  "GetBucketPolicy",
  "GetObjectLockConfiguration",
  "ListObjects",
  "ListObjectsV2",
  "ListMultipartUploads",
  "DeleteObjects",
  "GetObject",
  "HeadObject",
  "PutObject",
  "CopyObject",
  "DeleteObject",
  "GetObjectAcl",
  "GetObjectAttributes",
  "CreateMultipartUpload",
  "UploadPart",
  "UploadPartCopy",
  "CompleteMultipartUpload",
  "AbortMultipartUpload",
  "ListParts",
] as const;

export type Operation = (typeof OPERATIONS)[number];

export interface Route {
  readonly operation: Operation;
  /** "" for ListBuckets. */
  readonly bucket: string;
  /** "" for operations on buckets. */
  readonly key: string;
}

export interface RouteRequest {
  readonly method: string;
  /** Decoded path, starts with "/". */
  readonly path: string;
  readonly query: Query;
  /** Whether x-amz-copy-source is there: a PUT with it is a copy. */
  readonly copySource: boolean;
  /** Host as the client saw it, with or without a port. */
  readonly host: string;
  /** Buckets are also found as `<bucket>.<domain>`. */
  readonly domain: string | undefined;
}

interface Rule {
  readonly method: string;
  readonly on: "service" | "bucket" | "object";
  /** Parameters that must be there; "name=value" asks for that value. */
  readonly needs: readonly string[];
  /** Further parameters that the operation reads. */
  readonly reads: readonly string[];
  readonly copySource?: boolean;
  readonly operation: Operation;
}

const LIST = ["prefix", "delimiter", "encoding-type", "max-keys"];
const RESPONSE = [
  "response-content-type",
  "response-content-language",
  "response-expires",
  "response-cache-control",
  "response-content-disposition",
  "response-content-encoding",
];

/** The first rule whose needs are met and that reads every other parameter wins. */
const RULES: readonly Rule[] = [
  rule("GET", "service", "ListBuckets", [], ["max-buckets", "continuation-token", "prefix"]),
  rule("PUT", "bucket", "CreateBucket"),
  rule("HEAD", "bucket", "HeadBucket"),
  rule("DELETE", "bucket", "DeleteBucket"),
  rule("GET", "bucket", "GetBucketLocation", ["location"]),
  rule("GET", "bucket", "GetBucketVersioning", ["versioning"]),
  rule("GET", "bucket", "GetBucketAcl", ["acl"]),
  rule("GET", "bucket", "GetBucketPolicy", ["policy"]),
  rule("GET", "bucket", "GetObjectLockConfiguration", ["object-lock"]),
  rule(
    "GET",
    "bucket",
    "ListMultipartUploads",
    ["uploads"],
    ["prefix", "delimiter", "encoding-type", "key-marker", "upload-id-marker", "max-uploads"],
  ),
  rule(
    "GET",
    "bucket",
    "ListObjectsV2",
    ["list-type=2"],
    [...LIST, "continuation-token", "start-after", "fetch-owner"],
  ),
  rule("GET", "bucket", "ListObjects", [], [...LIST, "marker"]),
  rule("POST", "bucket", "DeleteObjects", ["delete"]),
  rule("GET", "object", "GetObjectAcl", ["acl"], ["versionId"]),
  rule(
    "GET",
    "object",
    "ListParts",
    ["uploadId"],
    ["max-parts", "part-number-marker", "encoding-type"],
  ),
  rule("GET", "object", "GetObjectAttributes", ["attributes"], ["versionId"]),
  rule("GET", "object", "GetObject", [], ["partNumber", "versionId", ...RESPONSE]),
  rule("HEAD", "object", "HeadObject", [], ["partNumber", "versionId", ...RESPONSE]),
  { ...rule("PUT", "object", "UploadPartCopy", ["partNumber", "uploadId"]), copySource: true },
  { ...rule("PUT", "object", "UploadPart", ["partNumber", "uploadId"]), copySource: false },
  { ...rule("PUT", "object", "CopyObject"), copySource: true },
  { ...rule("PUT", "object", "PutObject"), copySource: false },
  rule("DELETE", "object", "AbortMultipartUpload", ["uploadId"]),
  rule("DELETE", "object", "DeleteObject", [], ["versionId"]),
  rule("POST", "object", "CreateMultipartUpload", ["uploads"]),
  rule("POST", "object", "CompleteMultipartUpload", ["uploadId"]),
];

function rule(
  method: string,
  on: Rule["on"],
  operation: Operation,
  needs: readonly string[] = [],
  reads: readonly string[] = [],
): Rule {
  return { method, on, needs, reads, operation };
}

/** Names the operation, bucket and key. Throws NotImplemented for everything that Ringstow does not do. */
export function routeRequest(request: RouteRequest): Route {
  const { bucket, key } = splitPath(request);
  const on = bucket === undefined ? "service" : key === "" ? "bucket" : "object";
  for (const candidate of RULES) {
    if (candidate.method !== request.method || candidate.on !== on) continue;
    if (candidate.copySource !== undefined && candidate.copySource !== request.copySource) continue;
    if (!meets(candidate, request.query)) continue;
    return { operation: candidate.operation, bucket: bucket ?? "", key };
  }
  throw new S3Error("NotImplemented", `Cannot answer ${request.method} ${describe(request)}`);
}

function describe({ path, query }: RouteRequest): string {
  const names = query.parameters.map(({ name }) => name).filter((name) => !isCommon(name));
  return names.length === 0 ? path : `${path} with the parameters ${names.join(", ")}`;
}

function meets({ needs, reads }: Rule, query: Query): boolean {
  for (const need of needs) {
    const [name, value] = need.split("=") as [string, string | undefined];
    const given = query.get(name);
    if (given === undefined || (value !== undefined && given !== value)) return false;
  }
  return query.parameters.every(
    ({ name }) =>
      isCommon(name) || reads.includes(name) || needs.some((need) => need.split("=")[0] === name),
  );
}

// Signature V2 in a query (AWS CLI v1 and boto3 presign so unless told otherwise): let through to the check of
// signatures, which says what to do instead.
const OLD_SIGNATURE = ["AWSAccessKeyId", "Signature", "Expires"];

/** What every operation may carry: the signature of a presigned URL, and the SDKs' name of the operation. */
export function isCommon(name: string): boolean {
  return name === "x-id" || /^x-amz-/iu.test(name) || OLD_SIGNATURE.includes(name);
}

/** The bucket that a host names, as `<bucket>.<domain>`; undefined when the path does. */
export function bucketOfHost(host: string, domain: string | undefined): string | undefined {
  const hostname = host.replace(/:\d+$/u, "").toLowerCase();
  if (domain === undefined || !hostname.endsWith(`.${domain}`)) return undefined;
  return hostname.slice(0, -domain.length - 1);
}

/** bucket undefined: the service itself. key "": the bucket itself. */
function splitPath({ path, host, domain }: RouteRequest): {
  bucket: string | undefined;
  key: string;
} {
  const named = bucketOfHost(host, domain);
  if (named !== undefined) return { bucket: named, key: path.slice(1) };
  if (path === "/") return { bucket: undefined, key: "" };
  const slash = path.indexOf("/", 1);
  if (slash < 0) return { bucket: path.slice(1), key: "" };
  return { bucket: path.slice(1, slash), key: path.slice(slash + 1) };
}
