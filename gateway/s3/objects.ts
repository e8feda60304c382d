// GET, HEAD, PUT and DELETE of one object.
import { HeldBody, wholeResponse } from "../../shared/body-stream.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type GetResult } from "../../shared/object-service.ts";
import { checkPrecondition } from "../../shared/precondition.ts";
import { type Precondition } from "../../shared/records.ts";
import { emptyAnswer } from "./answer.ts";
import { planBodyOf } from "./body-plan.ts";
import { aclAnswer } from "./buckets.ts";
import { type Call, type Place } from "./call.ts";
import { checksumHeaders } from "./checksums.ts";
import { readConditions, writePrecondition } from "./conditions.ts";
import { S3Error } from "./errors.ts";
import {
  checkNewKey,
  checkOverrides,
  describedBy,
  entryHeaders,
  overrideHeaders,
} from "./headers.ts";
import { checkVersion, partNumber } from "./parameters.ts";
import { parseRange } from "./range.ts";

/** GET and HEAD: 200, 206 or 304. */
export async function getObject(call: Call): Promise<Response> {
  const { key, operation } = call.route;
  const headOnly = operation === "HeadObject";
  checkVersion(call.query("versionId"));
  const part = partNumber(call);
  const range = parseRange(call.headers.get("range"));
  if (part !== undefined && call.headers.has("range")) {
    throw new S3Error(
      "InvalidRequest",
      "Cannot specify both Range header and partNumber query parameter",
    );
  }
  checkOverrides(call.target.query);
  const result = await call.inBucket(({ bucket, service }) =>
    service.get({
      bucket,
      key,
      conditions: readConditions(call.headers),
      range,
      ifRange: call.headers.get("if-range") ?? undefined,
      partNumber: part,
      headOnly,
    }),
  );
  return objectAnswer(call, result, headOnly);
}

function objectAnswer(call: Call, result: GetResult, headOnly: boolean): Response {
  const headers = call.newHeaders();
  entryHeaders(result.entry, headers);
  if (result.type === "notModified") {
    headers.delete("content-type");
    return new Response(null, { status: 304, headers });
  }
  overrideHeaders(call.target.query, headers);
  const { from, to, entry } = result;
  headers.set("content-length", String(to - from));
  if (result.partial && to > from) {
    headers.set("content-range", `bytes ${from}-${to - 1}/${entry.size}`);
  }
  if (call.query("partNumber") !== undefined && result.partsCount !== undefined) {
    headers.set("x-amz-mp-parts-count", String(result.partsCount));
  }
  if (showsChecksum(call, result)) checksumHeaders(entry.checksum, headers);
  const status = result.partial ? 206 : 200;
  if (headOnly) return new Response(null, { status, headers });
  const { body } = result;
  if (body instanceof HeldBody && body.bytes.length === to - from)
    return wholeResponse(body.bytes, { status, headers });
  return new Response(call.platform.toResponseBody(body, to - from), { status, headers });
}

/** A checksum of the whole object says nothing about some of its bytes. */
function showsChecksum(call: Call, { partial }: { readonly partial: boolean }): boolean {
  return !partial && call.headers.get("x-amz-checksum-mode")?.toUpperCase() === "ENABLED";
}

/** Everything that can be refused without the body is refused before it is read. */
export async function putObject(call: Call): Promise<Response> {
  const { key } = call.route;
  checkNewKey(key);
  const described = describedBy(call.headers);
  const body = planBodyOf(call);
  const precondition = writePrecondition(call.headers);
  const requestId = call.requestId();
  const result = await call.inBucket(async (place) => {
    await lookFirst(call, place, precondition);
    const { bucket, service } = place;
    return service.put(
      {
        bucket,
        key,
        ...described,
        body,
        precondition,
        requestId,
        again: call.again(),
      },
      call.body(),
    );
  });
  const headers = call.newHeaders();
  headers.set("etag", `"${result.etag}"`);
  checksumHeaders(result.checksum, headers);
  return emptyAnswer(call, 200, headers);
}

/**
 * For a client that waits for "100 Continue": refuses its body when its precondition fails by now. Not a request that was
 * sent before, which may find its own object here: only the chain knows, and decides, who may write.
 */
async function lookFirst(
  call: Call,
  { bucket, service }: Place,
  precondition: Precondition,
): Promise<void> {
  const conditional = precondition.ifMatch ?? precondition.ifNoneMatch;
  if (!conditional || !call.headers.has("expect") || call.again()) return;
  const { key } = call.route;
  const present = await service
    .get({ bucket, key, conditions: {}, headOnly: true })
    .catch((error: unknown) => {
      if (error instanceof RingstowError && error.code === "NoSuchKey") return undefined;
      throw error;
    });
  checkPrecondition(present?.entry, precondition);
}

/** 204, also when there was nothing. */
export async function deleteObject(call: Call): Promise<Response> {
  checkVersion(call.query("versionId"));
  const precondition = writePrecondition(call.headers);
  const requestId = call.requestId();
  const { key } = call.route;
  await call.inBucket(({ bucket, service }) =>
    service.delete({
      bucket,
      key,
      precondition,
      requestId,
      again: call.again(),
    }),
  );
  return emptyAnswer(call, 204);
}

/** The ACL of an object that exists. */
export async function getObjectAcl(call: Call): Promise<Response> {
  checkVersion(call.query("versionId"));
  return call.inBucket(async ({ bucket, service, record }) => {
    const { key } = call.route;
    await service.get({
      bucket,
      key,
      conditions: {},
      headOnly: true,
    });
    return aclAnswer(call, record);
  });
}
