// What every part of the coordinator needs, and the few steps they all take.
import { type RequestId, parseRequestId, toHex } from "../../shared/ids.ts";
import { type Entry, type NewEntry } from "../../shared/records.ts";
import { type Data } from "../data/types.ts";
import { type Chain, type Index, type RegisterAddress } from "../index/types.ts";
import { type Chance, type Clock, type Digest, type Log } from "../ports.ts";
import { type Background } from "./background.ts";

export interface Context {
  readonly index: Index;
  readonly data: Data;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly digest: Digest;
  readonly log: Log;
  readonly background: Background;
  readonly sliceBits: number;
  /** Opens sealed signing keys, 32 bytes. */
  readonly hopSecret: Uint8Array;
}

/** `bytes` random bytes as hex. */
export function randomHex(context: Context, bytes: number): string {
  return toHex(context.chance.bytes(bytes));
}

/** For operations that no client asked for: each is a request of its own. */
export function freshRequestId(context: Context): RequestId {
  return parseRequestId(randomHex(context, 16));
}

/** Linearizable read of an object's chain; undefined when there is none. */
export async function readChain(context: Context, at: RegisterAddress): Promise<Chain | undefined> {
  const { value } = await context.index.read(at, { body: false });
  return value?.kind === "object" ? value.chain : undefined;
}

/** An entry as gateways need it: up to 10,000 parts stay behind, or a list of large objects would not fit a reply. */
export function withoutParts(entry: Entry): Entry {
  return entry.body.kind === "parts" ? { ...entry, body: { ...entry.body, parts: [] } } : entry;
}

/** Sendings of parts that a chain's entries name: no clean-up may touch them. */
export function namedAttempts(chain: { readonly entries: readonly NewEntry[] }, uploadId: string) {
  return new Set(
    chain.entries.flatMap(({ body }) =>
      body.kind === "parts" && body.uploadId === uploadId
        ? body.parts.map((part) => part.attempt)
        : [],
    ),
  );
}
