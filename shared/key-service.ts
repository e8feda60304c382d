// Access keys: records in the ring that every gateway reads. A node never sees a secret in clear: whoever makes a key
// seals it (sealed-secret.ts), and gateways open it. All calls throw RingstowError.
import * as z from "zod/mini";
import { type RequestId } from "./ids.ts";
import { type ObjectCall } from "./object-call.ts";
import {
  type AccessKey,
  type Grants,
  accessKeySchema,
  grantsSchema,
  requestIdSchema,
} from "./records.ts";

/** What an access key may be called. */
export const accessKeyIdPattern = /^[A-Za-z0-9_-]{3,128}$/u;

/** What a key's secret is sealed for (sealed-secret.ts). */
export function sealedFor(accessKeyId: string): string {
  return `access key\n${accessKeyId}`;
}

/** A key before the ring gives it a time. */
export type NewAccessKey = Omit<AccessKey, "createdMs" | "lastUsedMs">;

export interface AccessKeyChange {
  readonly name?: string | undefined;
  readonly grants?: Grants | undefined;
  /** Wall ms; null takes the end away. */
  readonly expiresMs?: number | null | undefined;
}

export interface KeyService {
  /** Throws AccessKeyExists. The same requestId again answers the same key. */
  createKey(request: { key: NewAccessKey; requestId: RequestId }): Promise<AccessKey>;
  /** Linearizable. Throws NoSuchAccessKey. */
  getKey(request: { id: string }): Promise<AccessKey>;
  /** By rising id. */
  listKeys(request: {
    after: string | undefined;
    limit: number;
  }): Promise<{ keys: readonly AccessKey[]; truncated: boolean }>;
  /** Throws NoSuchAccessKey. */
  changeKey(request: {
    id: string;
    change: AccessKeyChange;
    requestId: RequestId;
  }): Promise<AccessKey>;
  /** Notes a use; an older one than known changes nothing. Throws NoSuchAccessKey. */
  touchKey(request: { id: string; usedMs: number; requestId: RequestId }): Promise<AccessKey>;
  /** Throws NoSuchAccessKey. */
  deleteKey(request: { id: string; requestId: RequestId }): Promise<void>;
}

const count = z.int().check(z.nonnegative());
const text = z.string();
const byId = { id: text, requestId: requestIdSchema };

export const KEY_CALLS = {
  createKey: {
    kind: "write",
    request: z.object({
      key: z.omit(accessKeySchema, { createdMs: true, lastUsedMs: true }),
      requestId: requestIdSchema,
    }),
    reply: accessKeySchema,
  },
  getKey: { kind: "read", request: z.object({ id: text }), reply: accessKeySchema },
  listKeys: {
    kind: "read",
    request: z.object({ after: z.optional(text), limit: count }),
    reply: z.object({ keys: z.array(accessKeySchema), truncated: z.boolean() }),
  },
  changeKey: {
    kind: "write",
    request: z.object({
      ...byId,
      change: z.object({
        name: z.optional(text),
        grants: z.optional(grantsSchema),
        expiresMs: z.optional(z.nullable(count)),
      }),
    }),
    reply: accessKeySchema,
  },
  touchKey: {
    kind: "write",
    request: z.object({ ...byId, usedMs: count }),
    reply: accessKeySchema,
  },
  deleteKey: { kind: "write", request: z.object(byId), reply: z.null() },
} as const satisfies Record<keyof KeyService, ObjectCall>;
