// The native calls: JSON in, JSON out. Objects go the same way as through S3; lookups and writes are the paper's workflow.
import type * as z from "zod/mini";
import { type AccessGrant, issueToken } from "../../shared/access-token.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId, parseRequestId } from "../../shared/ids.ts";
import { listKeysMax, nativeCallWaitMs, readTokenMs, writeTokenMs } from "../../shared/limits.ts";
import {
  type BeginReply,
  type LookupReply,
  type NativeCall,
  NATIVE_ROUTES,
  beginRequestSchema,
  finishRequestSchema,
  renewRequestSchema,
} from "../../shared/native-api.ts";
import { planBodyOf } from "../s3/body-plan.ts";
import { readableBuckets } from "../s3/buckets.ts";
import { type Call } from "../s3/call.ts";
import { writePrecondition } from "../s3/conditions.ts";
import { S3Error } from "../s3/errors.ts";
import { checkNewKey, checkedDescription, describedBy } from "../s3/headers.ts";
import { positionAfter } from "../s3/listing.ts";
import { getObject } from "../s3/objects.ts";
import { readSmallBody } from "../s3/small-body.ts";

/** What a call answers: a whole Response, or the value of its JSON. */
type Answered = Response | { readonly status?: number; readonly json?: unknown };

export const NATIVE_CALLS: Record<NativeCall, (call: Call) => Promise<Answered>> = {
  listBuckets: async (call) => ({ json: { buckets: await allBuckets(call) } }),
  async createBucket(call) {
    if (!call.auth.grants.createBuckets) throw new S3Error("AccessDenied");
    const requestId = call.requestId();
    const { bucket: name } = call.route;
    const made = await call.service.createBucket({ name, owner: call.auth.accessKeyId, requestId });
    call.rememberBucket(made);
    return { json: made };
  },
  deleteBucket: (call) =>
    call.inBucket(async ({ record }) => {
      await call.service.deleteBucket({ name: record.name, requestId: call.requestId() });
      call.forgetBucket(record);
      return {};
    }),
  listObjects,
  putObject,
  getObject,
  headObject: getObject,
  async deleteObject(call) {
    const precondition = writePrecondition(call.headers);
    const requestId = call.requestId();
    const { key } = call.route;
    const json = await call.inBucket(({ bucket, service }) =>
      service.delete({ bucket, key, precondition, requestId, again: call.again() }),
    );
    return { json };
  },
  lookup,
  beginWrite,
  renewWrite,
  unlock,
  finishWrite,
};

/** The answer of a native call as HTTP. */
export function nativeAnswer(call: Call, name: NativeCall, answered: Answered): Response {
  if (answered instanceof Response) return answered;
  const headers = call.newHeaders();
  const { status = NATIVE_ROUTES[name].status, json } = answered;
  if (json === undefined) return new Response(null, { status, headers });
  headers.set("content-type", "application/json");
  return new Response(JSON.stringify(json), { status, headers });
}

async function allBuckets(call: Call): Promise<unknown[]> {
  const { buckets } = await readableBuckets(call, "", undefined, Number.MAX_SAFE_INTEGER);
  return [...buckets];
}

async function listObjects(call: Call): Promise<Answered> {
  const prefix = call.query("prefix") ?? "";
  const delimiter = call.query("delimiter") ?? "";
  const limit = numberOf(call, "limit", listKeysMax);
  if (limit < 1 || limit > listKeysMax) {
    throw new RingstowError("InvalidRequest", `Cannot list: limit must be 1 to ${listKeysMax}`);
  }
  const place = positionAfter(prefix, delimiter, call.query("after") ?? "");
  const found = await call.inBucket(({ bucket, service }) =>
    service.list({
      bucket,
      prefix,
      delimiter,
      after: place?.after,
      afterPrefix: place?.afterPrefix ?? false,
      limit,
    }),
  );
  const objects = found.entries.map(({ key, entry }) => {
    const { size, etag, version, lastModifiedMs } = entry;
    return { key, size, etag, version, lastModifiedMs };
  });
  const { commonPrefixes, truncated, last } = found;
  return {
    json: { objects, commonPrefixes, truncated, next: truncated ? last?.after : undefined },
  };
}

async function putObject(call: Call): Promise<Answered> {
  const { key } = call.route;
  checkNewKey(key);
  const described = describedBy(call.headers);
  const body = planBodyOf(call);
  const precondition = writePrecondition(call.headers);
  const requestId = call.requestId();
  const json = await call.inBucket(({ bucket, service }) =>
    service.put(
      { bucket, key, ...described, body, precondition, requestId, again: call.again() },
      call.body(),
    ),
  );
  return { json };
}

// ---------------------------------------------------------------- the paper's workflow

async function lookup(call: Call): Promise<Answered> {
  const waitMs = Math.min(numberOf(call, "wait", 0), nativeCallWaitMs);
  const { client } = call;
  const found = await call.inBucket(({ bucket, service }) =>
    service.lookup({ bucket, key: call.route.key, client, since: call.query("since"), waitMs }),
  );
  const readUntilMs = call.platform.wallMs() + readTokenMs;
  const best = found.best.map((one) => {
    const { block, size } = one;
    const grant: AccessGrant = {
      type: "read",
      node: one.node.id,
      block,
      size,
      untilMs: readUntilMs,
    };
    return { ...one, readUrl: directUrl(call, one.node, "blocks", grant), readUntilMs };
  });
  return { json: { ...found, best } satisfies LookupReply };
}

async function beginWrite(call: Call): Promise<Answered> {
  const asked = await readJson(call, beginRequestSchema);
  const { key } = call.route;
  checkNewKey(key);
  const requestId = asked.requestId ?? call.platform.randomId();
  const waitMs = Math.min(asked.waitMs, nativeCallWaitMs);
  const { holder, leaseMs } = asked;
  const { client } = call;
  const { begun, place } = await call.inBucket(async (where) => {
    const { bucket, service } = where;
    const request = { bucket, key, holder, leaseMs, requestId, client, waitMs };
    return { begun: await service.beginWrite(request), place: where };
  });
  if (begun.state === "queued") {
    return { status: 202, json: { ...begun, requestId } satisfies BeginReply };
  }
  const { node, block, fence } = begun;
  // Longer than any lease: the node asks the chain at every write whether the fence still holds the lock.
  const untilMs = call.platform.wallMs() + writeTokenMs;
  const grant: AccessGrant = {
    type: "write",
    node: node.id,
    block,
    untilMs,
    bucket: place.bucket,
    key,
    fence,
  };
  const writeUrl = directUrl(call, node, "drafts", grant);
  return { json: { ...begun, requestId, writeUrl } satisfies BeginReply };
}

async function renewWrite(call: Call): Promise<Answered> {
  const { fence } = await readJson(call, renewRequestSchema);
  const { key } = call.route;
  const json = await call.inBucket(({ bucket, service }) =>
    service.renewWrite({ bucket, key, fence }),
  );
  return { json };
}

async function unlock(call: Call): Promise<Answered> {
  const { key } = call.route;
  const fence = call.query("fence");
  const asked = call.query("requestId");
  if ((fence === undefined) === (asked === undefined)) {
    throw new RingstowError("InvalidRequest", "Cannot unlock: give either fence or requestId");
  }
  await call.inBucket(async ({ bucket, service }) => {
    if (asked !== undefined) {
      if (!/^[0-9a-f]{32}$/u.test(asked)) {
        throw new RingstowError("InvalidRequest", "Cannot unlock: requestId has 32 hex digits");
      }
      await service.cancelWrite({ bucket, key, requestId: parseRequestId(asked) });
    } else {
      const requestId = call.requestId();
      await service.unlock({ bucket, key, fence: numberOf(call, "fence", 0), requestId });
    }
  });
  return {};
}

async function finishWrite(call: Call): Promise<Answered> {
  const asked = await readJson(call, finishRequestSchema);
  const { fence, node, block, contentType, metadata } = asked;
  const requestId = asked.requestId ?? call.requestId();
  const described =
    contentType === undefined && metadata === undefined
      ? undefined
      : checkedDescription(
          { contentType },
          Object.entries(metadata ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
        );
  const { key } = call.route;
  const json = await call.inBucket(({ bucket, service }) =>
    service.finishWrite({ bucket, key, fence, node, block, described, requestId }),
  );
  return { json };
}

// ---------------------------------------------------------------- pieces

function directUrl(
  call: Call,
  node: { readonly id: NodeId; readonly url: string },
  what: "blocks" | "drafts",
  grant: AccessGrant,
): string {
  return `${node.url}/v1/${what}/${grant.block}?token=${issueToken(call.config.hopSecret, grant)}`;
}

async function readJson<T extends z.ZodMiniType>(call: Call, schema: T): Promise<z.infer<T>> {
  const text = new TextDecoder().decode(await readSmallBody(call));
  let value: unknown;
  try {
    value = text === "" ? {} : JSON.parse(text);
  } catch {
    throw new RingstowError("InvalidRequest", "Cannot read the body: it is no JSON");
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join(".") || "the body";
  throw new RingstowError("InvalidRequest", `Cannot read ${where}: ${issue?.message}`);
}

function numberOf(call: Call, name: string, otherwise: number): number {
  const text = call.query(name);
  if (text === undefined) return otherwise;
  if (/^\d{1,15}$/u.test(text)) return Number(text);
  throw new RingstowError("InvalidRequest", `Cannot read ${name}: "${text}" is no number`);
}
