// Proof of the hop between gateway and node: HMAC-SHA256 by the gateway secret over method, path, audience, time,
// session and number, the client's place, and the arguments. Invariant: one signed request is accepted by one node,
// once, within the clock window. Bodies of uploads are not covered: S3's own digests and the hop's TLS do that.
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import * as z from "zod/mini";
import { RingstowError, assert } from "./errors.ts";
import { clockSkewMs } from "./limits.ts";
import { type Position } from "./nearest.ts";
import { toAsciiJson } from "./object-protocol.ts";
import { ReplayWindow } from "./replay-window.ts";
import { keyedSha256 } from "./sha256.ts";

/** Secrets of 32 bytes with one purpose each: none reveals another or the cluster secret. */
export interface ClusterSecrets {
  /** Key of the peer links. */
  readonly peer: Uint8Array;
  /** Signs requests between gateways and nodes. */
  readonly gateway: Uint8Array;
  /** Seals signing keys and direct-access tokens between gateways and nodes. */
  readonly hop: Uint8Array;
  /** Encrypts stored keys. */
  readonly keyEncryption: Uint8Array;
}

/** Separates the cluster secret by HKDF-SHA256 (RFC 5869). */
export function deriveSecrets(clusterSecret: Uint8Array): ClusterSecrets {
  assert(clusterSecret.length >= 32, "the cluster secret has at least 32 bytes");
  const derive = (purpose: string): Uint8Array =>
    hkdf(sha256, clusterSecret, encoder.encode("ringstow"), encoder.encode(purpose), 32);
  return {
    peer: derive("peer 1"),
    gateway: derive("gateway 1"),
    hop: derive("hop 1"),
    keyEncryption: derive("key encryption 1"),
  };
}

/** Who the gateway's own client is. Nodes believe nothing else about clients. */
export interface ClientPlace {
  readonly ip?: string | undefined;
  readonly position?: Position | undefined;
}

export interface SignedRequest {
  readonly method: string;
  readonly path: string;
  /** Arguments as they cross the wire: the JSON body, or the arguments header of an upload. */
  readonly args: string | Uint8Array;
}

/** The audience of requests whose repetition at another node harms nobody: reads of the member table. */
export const ANY_NODE = "any";

const encoder = new TextEncoder();
const PATTERN =
  /^1 (?<time>\d{1,15}) (?<session>[0-9a-f]{32}) (?<number>[1-9]\d{0,14}) (?<mac>[0-9a-f]{64}) (?<client>\{.*\})$/u;
const clientSchema = z.object({
  ip: z.optional(z.string()),
  position: z.optional(z.object({ latitude: z.number(), longitude: z.number() })),
});

// No field but the last can hold a line feed, so one text has one reading.
function stampOf(
  request: SignedRequest,
  audience: string,
  time: string,
  session: string,
  number: string,
  client: string,
): string {
  return `ringstow 1\n${request.method}\n${request.path}\n${audience}\n${time}\n${session}\n${number}\n${client}\n`;
}

/** Signs a gateway's requests. One per gateway process. */
export class RequestSigner {
  readonly #mac: ReturnType<typeof keyedSha256>;
  readonly #session: string;
  readonly #wallMs: () => number;
  readonly #numbers = new Map<string, number>();

  /** @param session 32 hex digits, random, never used before: it names this process's run */
  constructor(secret: Uint8Array, session: string, wallMs: () => number) {
    assert(/^[0-9a-f]{32}$/u.test(session), "a signing session is named by 32 hex digits");
    this.#mac = keyedSha256(secret);
    this.#session = session;
    this.#wallMs = wallMs;
  }

  /** Value of the auth header. @param audience id of the node, or ANY_NODE */
  sign(request: SignedRequest, audience: string, client: ClientPlace): string {
    const number = (this.#numbers.get(audience) ?? 0) + 1;
    this.#numbers.set(audience, number); // one entry a node id: bounded by the cluster's size
    const time = String(this.#wallMs());
    const place = toAsciiJson({ ip: client.ip, position: client.position });
    const stamp = stampOf(request, audience, time, this.#session, String(number), place);
    return `1 ${time} ${this.#session} ${number} ${this.#mac(stamp, request.args)} ${place}`;
  }
}

/** Checks requests at a node. */
export class RequestVerifier {
  readonly #mac: ReturnType<typeof keyedSha256>;
  readonly #wallMs: () => number;
  readonly #seen: ReplayWindow;

  constructor(secret: Uint8Array, wallMs: () => number) {
    this.#mac = keyedSha256(secret);
    this.#wallMs = wallMs;
    this.#seen = new ReplayWindow(wallMs());
  }

  /**
   * The client's place. Throws AccessDenied, or Unavailable for an honest request that this node cannot tell from
   * a repeated one (made before it started, or too far behind others of its session).
   */
  verify(header: string | undefined, request: SignedRequest, audience: string): ClientPlace {
    const fields = header === undefined ? undefined : PATTERN.exec(header)?.groups;
    if (!fields) throw refusal("there is no readable signature");
    const { time, session, number, mac, client } = fields as Record<string, string>;
    if (Math.abs(Number(time) - this.#wallMs()) > clockSkewMs)
      throw refusal("its time is too far from this node's clock");
    const stamp = stampOf(request, audience, time!, session!, number!, client!);
    if (!equalDigits(this.#mac(stamp, request.args), mac!)) throw refusal("its signature is wrong");
    // Only what was proved may take space in the memory.
    const verdict = this.#seen.accept(`${session} ${audience}`, Number(number), Number(time));
    if (verdict === "seen") throw refusal("it was sent before");
    if (verdict === "tooOld")
      throw new RingstowError("Unavailable", "Cannot accept the request: it may be a repetition");
    return readClient(client!);
  }
}

function readClient(text: string): ClientPlace {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw refusal("the client's place is no JSON");
  }
  const parsed = clientSchema.safeParse(json);
  if (!parsed.success) throw refusal("the client's place is malformed");
  return parsed.data;
}

function refusal(reason: string): RingstowError {
  return new RingstowError("AccessDenied", `Cannot accept the request: ${reason}`);
}

/** Compares two texts of equal length without telling by time where they differ. */
function equalDigits(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}
