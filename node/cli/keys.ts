// `ringstow key ...`: access keys are made, listed, limited and deleted by whoever has the cluster's secret.
import { randomBytes } from "node:crypto";
import { customAlphabet } from "nanoid";
import { isBucketName } from "../../gateway/s3/bucket-name.ts";
import { type AccessKeyChange, accessKeyIdPattern, sealedFor } from "../../shared/key-service.ts";
import { listKeysMax } from "../../shared/limits.ts";
import { type AccessKey, type Grants, type Permission } from "../../shared/records.ts";
import { sealSecret } from "../../shared/sealed-secret.ts";
import { commandLine } from "./command.ts";
import { CliError } from "./cli-error.ts";
import { type Cluster } from "./cluster-service.ts";
import { newRequestId } from "./new-request-id.ts";

export interface GrantOptions {
  readonly all?: Permission | undefined;
  readonly read: readonly string[];
  readonly write: readonly string[];
  readonly owner: readonly string[];
  readonly createBuckets?: boolean | undefined;
}

export interface ChangeOptions extends GrantOptions {
  readonly name?: string | undefined;
  readonly expires?: string | undefined;
  /** All rights are taken away. */
  readonly nothing?: boolean | undefined;
}

/** An access key as its owner needs it. The secret is told once. */
export interface OpenedKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** 238 bits. No hyphen or slash: secrets stand on command lines, in URLs and in files of settings. */
const newSecret = customAlphabet(alphanumeric, 40);

export function newKeyPair(): OpenedKey {
  return {
    accessKeyId: `RS${randomBytes(9).toString("hex").toUpperCase()}`,
    secretAccessKey: newSecret(),
  };
}

/** A bucket that is named for two permissions gets the stronger one. Throws CliError for what can be no bucket. */
export function grantsOf(options: GrantOptions): Grants {
  const buckets: Record<string, Permission> = {};
  for (const permission of ["read", "write", "owner"] as const) {
    for (const bucket of options[permission]) buckets[requireBucketName(bucket)] = permission;
  }
  return { all: options.all, buckets, createBuckets: options.createBuckets === true };
}

/** Makes a key of this id and secret. Throws AccessKeyExists. */
export function createKey(
  { service, secrets }: Cluster,
  pair: OpenedKey,
  key: Pick<AccessKey, "name" | "grants" | "expiresMs">,
): Promise<AccessKey> {
  const id = pair.accessKeyId;
  const secret = new TextEncoder().encode(pair.secretAccessKey);
  const sealedSecret = sealSecret(
    secrets.keyEncryption,
    new Uint8Array(randomBytes(24)),
    sealedFor(id),
    secret,
  );
  return service.createKey({ key: { ...key, id, sealedSecret }, requestId: newRequestId() });
}

export async function listKeys({ service }: Cluster): Promise<AccessKey[]> {
  const keys: AccessKey[] = [];
  for (;;) {
    const page = await service.listKeys({ after: keys.at(-1)?.id, limit: listKeysMax });
    keys.push(...page.keys);
    if (!page.truncated) return keys;
  }
}

/**
 * What `key limit` is to change: rights that are named take the place of all that the key has; where none is named, it
 * keeps them. Throws CliError when nothing is to change, or cannot.
 */
export function keyChangeOf(options: ChangeOptions, nowMs: number): AccessKeyChange {
  const { all, read, write, owner, createBuckets, name, expires, nothing } = options;
  const namesRights =
    all !== undefined || createBuckets || [...read, ...write, ...owner].length > 0;
  if (namesRights && nothing)
    throw new CliError("Cannot limit a key: --nothing and a right exclude each other");
  if (!namesRights && !nothing && name === undefined && expires === undefined)
    throw new CliError("Cannot limit a key: say what is to change, see ringstow key limit --help");
  return {
    name,
    grants: namesRights || nothing ? grantsOf(options) : undefined,
    expiresMs: expires === undefined ? undefined : parseEnd(expires, nowMs),
  };
}

/**
 * Wall ms at which a key ends: "30d", "12h", "45m" from now, or an ISO date. "never" is null.
 * Throws CliError for anything else, and for a time that is over.
 */
export function parseEnd(text: string, nowMs: number): number | null {
  if (text === "never") return null;
  const span = /^(\d{1,5})([dhm])$/u.exec(text);
  const unitMs = { d: 86_400_000, h: 3_600_000, m: 60_000 };
  const endMs = span
    ? nowMs + Number(span[1]) * unitMs[span[2] as keyof typeof unitMs]
    : Date.parse(text);
  if (!(endMs > nowMs)) {
    throw new CliError(
      `Cannot use --expires "${text}": it must be a span such as 30d, 12h or 45m, a date to come such as 2030-12-31, or "never"`,
    );
  }
  return endMs;
}

/** Throws CliError for what can be no bucket's name. */
export function requireBucketName(name: string): string {
  if (isBucketName(name)) return name;
  throw new CliError(
    `Cannot use the bucket name "${name}": a name has 3 to 63 lower-case letters, digits, dots and hyphens`,
  );
}

/** Throws CliError for what can be no key's id. */
export function requireKeyId(id: string): string {
  if (accessKeyIdPattern.test(id)) return id;
  throw new CliError(`Cannot find the access key "${id}": that is no access key id`);
}

const day = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace("T", " ");

/** One line a key, for people. */
export function formatKeys(keys: readonly AccessKey[]): string {
  if (keys.length === 0) return `No access keys. Make one with "${commandLine("key create")}".\n`;
  const rows = keys.map((key) => [
    key.id,
    key.name,
    formatGrants(key.grants),
    day(key.createdMs),
    key.lastUsedMs === undefined ? "never" : day(key.lastUsedMs),
    key.expiresMs === undefined ? "never" : day(key.expiresMs),
  ]);
  return formatTable(["access key", "name", "may", "created", "last used", "expires"], rows);
}

export function formatGrants({ all, buckets, createBuckets }: Grants): string {
  const here = Object.entries(buckets).map(([bucket, permission]) => `${permission}:${bucket}`);
  const parts = [...(all ? [`${all}:*`] : []), ...here, ...(createBuckets ? ["create"] : [])];
  return parts.length === 0 ? "nothing" : parts.join(" ");
}

export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]!.length)),
  );
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
}
