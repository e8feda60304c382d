// Requests as clients sign them, and what the gateway thinks of them.
import fc from "fast-check";
import { Authenticator, type SignedRequest } from "../../../../gateway/auth/sigv4.ts";
import { S3Error } from "../../../../gateway/s3/errors.ts";
import { parseTarget, strictEncode } from "../../../../gateway/s3/target.ts";
import { anyText } from "../any-text.ts";
import { HOST, KEYS, REGION, signerFor } from "../test-gateway.ts";

export const NOW = Date.UTC(2026, 10, 22, 12, 0, 0);
export const authenticator = new Authenticator({
  region: REGION,
  credentials: (id) => (Object.hasOwn(KEYS, id) ? KEYS[id as "alice"] : undefined),
});

export interface Sent {
  readonly method: string;
  readonly target: string;
  readonly headers: Record<string, string>;
  readonly nowMs?: number;
  readonly hosts?: readonly string[];
  readonly rawHeaders?: readonly string[];
}

export function received(sent: Sent): SignedRequest {
  return {
    method: sent.method,
    target: parseTarget(sent.target),
    headers: new Headers(sent.headers),
    rawHeaders: () => sent.rawHeaders,
    hosts: sent.hosts ?? [HOST],
    nowMs: sent.nowMs ?? NOW,
  };
}

export const verify = (sent: Sent) => authenticator.authenticate(received(sent));

export async function refusal(sent: Sent): Promise<string> {
  try {
    await verify(sent);
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
  return "accepted";
}

export const byteString = (unit: fc.Arbitrary<string>, max: number) =>
  fc.string({ unit, maxLength: max });
export const key = anyText(40, 1);
export const text = anyText(12);
// In UTF-8 "à" and "Š" end with the byte A0, "Å" with 85: as characters those are spaces.
export const headerText = byteString(
  fc.constantFrom(..." abcXYZ019-_=,;:/\t!\"'àŠÅ語".split("")),
  20,
).map((value) => value.trim());
export const request = fc.record({
  method: fc.constantFrom("GET", "PUT", "POST", "DELETE", "HEAD"),
  key,
  query: fc.dictionary(
    text.filter((name) => name !== "" && !/^x-amz-/iu.test(name) && name !== "__proto__"),
    fc.oneof(text, fc.array(text, { minLength: 2, maxLength: 3 })),
    { maxKeys: 4 },
  ),
  metadata: fc.dictionary(
    byteString(fc.constantFrom(..."abc019-".split("")), 8).filter((name) => name !== ""),
    headerText.filter((value) => value !== ""),
    { maxKeys: 3 },
  ),
  payload: fc.constantFrom(
    "UNSIGNED-PAYLOAD",
    "a".repeat(64),
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
  ),
});

export type Asked = typeof request extends fc.Arbitrary<infer T> ? T : never;

export const searchOf = (query: Asked["query"]) =>
  Object.entries(query)
    .flatMap(([name, values]) => [values].flat().map((value) => [name, value] as const))
    .map(([name, value]) => `${strictEncode(name)}=${strictEncode(value)}`)
    .join("&");

/** What @smithy/signature-v4 signs, as it goes over the wire. */
export async function signed(asked: Asked): Promise<Sent> {
  const path = `/bucket/${strictEncode(asked.key, true)}`;
  const headers: Record<string, string> = {
    host: HOST,
    "x-amz-content-sha256": asked.payload,
    ...Object.fromEntries(
      Object.entries(asked.metadata).map(([name, value]) => [`x-amz-meta-${name}`, value]),
    ),
  };
  const result = (await signerFor("alice").sign(
    {
      method: asked.method,
      protocol: "https:",
      hostname: HOST,
      path,
      query: asked.query,
      headers,
    } as never,
    { signingDate: new Date(NOW) },
  )) as unknown as { headers: Record<string, string> };
  const search = searchOf(asked.query);
  return {
    method: asked.method,
    target: search === "" ? path : `${path}?${search}`,
    headers: Object.fromEntries(
      Object.entries(result.headers).map(([name, value]) => [name, asBytes(value)]),
    ),
  };
}

/** A header's text as it arrives: one character for each byte of UTF-8. */
export function asBytes(value: string): string {
  return Buffer.from(value, "utf8").toString("latin1");
}
