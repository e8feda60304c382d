// Identifiers: 128-bit numbers held as 32 lower-case hex digits, so that string order is ring order.
// A branded id exists only through its parser or maker; nothing else may cast to it.

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** Ring position of a node: 32 lower-case hex digits. */
export type NodeId = Branded<"NodeId"> & RingId;
/** Where a name lies on the ring: 64 bits of its shard, 64 bits of its key. 32 lower-case hex digits. */
export type LogicalId = Branded<"LogicalId"> & RingId;
/** Any point of the 128-bit ring. NodeId and LogicalId are ring ids. */
export type RingId = string & { readonly ringId: true };
/** A bucket's creation, random: a bucket that is made again under its old name has another id. 32 hex digits. */
export type BucketId = Branded<"BucketId">;
/** One immutable block. Random, 32 hex digits. */
export type BlockId = Branded<"BlockId">;
/** One multipart upload. Random, 32 hex digits. */
export type UploadId = Branded<"UploadId">;
/** One data folder's life: a wiped disk gets another. 16 hex digits. */
export type FolderId = Branded<"FolderId">;
/** Who votes in a view: NodeId followed by FolderId, 48 hex digits. */
export type VoterId = Branded<"VoterId">;
/** Names one request of a client, the same for its retries: 32 hex digits. */
export type RequestId = Branded<"RequestId">;

const hex = (digits: number): RegExp => new RegExp(`^[0-9a-f]{${digits}}$`, "u");
const HEX16 = hex(16);
const HEX32 = hex(32);
const HEX48 = hex(48);

function parser<T extends string>(name: string, pattern: RegExp): (text: string) => T {
  return (text) => {
    if (!pattern.test(text)) throw new TypeError(`Cannot read ${name} from "${text}"`);
    return text as T;
  };
}

export const parseNodeId: (text: string) => NodeId = parser("a node id", HEX32);
export const parseLogicalId: (text: string) => LogicalId = parser("a logical id", HEX32);
export const parseRingId: (text: string) => RingId = parser("a ring id", HEX32);
export const parseBucketId: (text: string) => BucketId = parser("a bucket id", HEX32);
export const parseBlockId: (text: string) => BlockId = parser("a block id", HEX32);
export const parseUploadId: (text: string) => UploadId = parser("an upload id", HEX32);
export const parseFolderId: (text: string) => FolderId = parser("a folder id", HEX16);
export const parseVoterId: (text: string) => VoterId = parser("a voter id", HEX48);
export const parseRequestId: (text: string) => RequestId = parser("a request id", HEX32);

export function voterIdOf(node: NodeId, folder: FolderId): VoterId {
  return (node + folder) as VoterId;
}

export function nodeOfVoter(voter: VoterId): NodeId {
  return voter.slice(0, 32) as NodeId;
}

/** Lower-case hex of some bytes. */
export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte < 16 ? `0${byte.toString(16)}` : byte.toString(16);
  return text;
}

/** Bytes of an even number of hex digits. */
export function fromHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length >> 1);
  for (let i = 0; i < bytes.length; i++)
    bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
