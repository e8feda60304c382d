// Which native call a request asks for, and which S3 operation needs the same permission.
import { NATIVE_ROUTES, type NativeCall, type NativeRoute } from "../../shared/native-api.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type Operation, type Route, isCommon } from "../s3/operation.ts";
import { type Query } from "../s3/target.ts";

/** A route whose `operation` says what the key must be allowed to do. */
export interface NativeTarget extends Route {
  readonly call: NativeCall;
}

const OPERATION: Record<NativeCall, Operation> = {
  listBuckets: "ListBuckets",
  createBucket: "CreateBucket",
  deleteBucket: "DeleteBucket",
  listObjects: "ListObjectsV2",
  putObject: "PutObject",
  getObject: "GetObject",
  headObject: "HeadObject",
  deleteObject: "DeleteObject",
  lookup: "HeadObject",
  beginWrite: "PutObject",
  renewWrite: "PutObject",
  unlock: "PutObject",
  finishWrite: "PutObject",
};

/** Bucket names have at least three characters, so none is "v1". */
export function isNativePath(path: string): boolean {
  return path === "/v1" || path.startsWith("/v1/");
}

/** @param path decoded. Throws InvalidRequest for what the API does not have, unknown parameters among it. */
export function nativeTarget(method: string, path: string, query: Query): NativeTarget {
  const match = /^\/v1\/([a-z]+)(?:\/([^/]+)(?:\/(.+))?)?$/su.exec(path);
  const [resource, bucket = "", key = ""] = match?.slice(1) ?? [];
  const names = key !== "" ? "key" : bucket !== "" ? "bucket" : "none";
  for (const [name, route] of Object.entries(NATIVE_ROUTES) as [NativeCall, NativeRoute][]) {
    if (route.method === method && route.resource === resource && route.names === names) {
      checkParameters(query, route);
      return { call: name, operation: OPERATION[name], bucket, key };
    }
  }
  throw new RingstowError(
    "InvalidRequest",
    `Cannot ${method} ${path}: the native API has no such call; see /v1/docs`,
  );
}

/** What is not understood is not ignored: it may be meant for another call. */
function checkParameters({ parameters }: Query, route: NativeRoute): void {
  for (const { name } of parameters) {
    if (isCommon(name) || Object.hasOwn(route.query ?? {}, name)) continue;
    throw new RingstowError(
      "InvalidRequest",
      `Cannot read the parameter "${name}": the call has none of this name; see /v1/docs`,
    );
  }
}
