// What the other modules may know of the index: linearizable registers, most of them chains.
import {
  type BlockId,
  type BucketId,
  type NodeId,
  type RequestId,
  type UploadId,
  type VoterId,
} from "../../shared/ids.ts";
import { type Copies, type CopiesSetting } from "../../shared/copies.ts";
import { type AccessKeyChange, type NewAccessKey } from "../../shared/key-service.ts";
import {
  type AccessKey,
  type Bucket,
  type BlockRef,
  type Entry,
  type NewEntry,
  type Part,
  type Pointer,
  type Precondition,
  type Upload,
} from "../../shared/records.ts";
import { type PauseSummary } from "./view-pauses.ts";
import { type ReplyOf, type RequestOf } from "../../shared/protocol.ts";
import { type Slice } from "../../shared/slices.ts";

/** What a register is about; also the first letter of its key. */
export type RegisterKind = "object" | "part" | "bucket" | "gate" | "accessKey" | "copies" | "view";

/** Full name of a register, never a hash of it: kind letter, bucket id, raw key. */
export type RegisterKey = string & { readonly registerKey: true };

/** Where a register lives. */
export interface RegisterAddress {
  readonly slice: Slice;
  readonly key: RegisterKey;
}

export interface LockGrant {
  readonly holder: string;
  readonly requestId: RequestId;
  /** Grows with every grant. */
  readonly fence: number;
  readonly leaseMs: number;
}

/** What nobody may need any more, kept in the chain until it is gone everywhere. */
export type Garbage = {
  /** Wall ms at which it became garbage. */
  readonly sinceMs: number;
} & (
  | { readonly kind: "block"; readonly block: BlockRef }
  /**
   * An upload that has ended: all part registers under it that no entry of this chain names, with their blocks. Added
   * by the commit that completes it (parts sent and not listed, or sent late), by abortUpload, and when its object is
   * replaced or deleted. At most one an upload: a later cause replaces `sinceMs`.
   */
  | { readonly kind: "upload"; readonly uploadId: UploadId }
);

/** Value of an object's register: the paper's sub-chain of one name. */
export interface Chain {
  /** Version of the newest commit or delete; 0 before the first. */
  readonly version: number;
  /** Committed states that exist, newest first. Empty: the object does not exist. */
  readonly entries: readonly Entry[];
  /** Multipart uploads under way. */
  readonly uploads: readonly Upload[];
  readonly lock: LockGrant | undefined;
  readonly queue: readonly Omit<LockGrant, "fence">[];
  /** Highest fence granted so far. */
  readonly fence: number;
  readonly garbage: readonly Garbage[];
  /** Blocks given up before any commit named them. */
  readonly disowned: readonly BlockId[];
}

/** The chain of a name that was never written. */
export const EMPTY_CHAIN: Chain = {
  version: 0,
  entries: [],
  uploads: [],
  lock: undefined,
  queue: [],
  fence: 0,
  garbage: [],
  disowned: [],
};

/** Blocks that an entry names itself; those of parts stand in the parts' registers. */
export function blocksOf(entry: NewEntry): readonly BlockRef[] {
  return entry.body.kind === "blocks" ? entry.body.blocks : [];
}

/** Blocks that a register names itself: a multipart object's stand in the registers of its parts. */
export function blocksIn(value: RegisterValue): readonly BlockRef[] {
  if (value.kind === "object") return value.chain.entries.flatMap((entry) => blocksOf(entry));
  return value.kind === "part" && value.part.body.kind === "blocks" ? value.part.body.blocks : [];
}

/** A block with a pointer to every node that may hold a copy, those of replaced copies at version 0: for deletion. */
export function withFormer({ former, ...block }: BlockRef): BlockRef {
  if (!former) return block;
  const more = former.map((node) => ({ node, version: 0 }));
  return { ...block, replicas: [...block.replicas, ...more] };
}

/** Whether these are the same pointers, in whatever order. */
export function samePointers(a: readonly Pointer[], b: readonly Pointer[]): boolean {
  const has = ({ node, version }: Pointer): boolean =>
    b.some((one) => one.node === node && one.version === version);
  return a.length === b.length && a.every(has);
}

/** Operations on an object's chain: pure functions in chain.ts. */
export type ChainOperation =
  | {
      readonly type: "commit";
      readonly entry: NewEntry;
      readonly precondition: Precondition;
      /** Set by Complete: the upload must exist and ends with this commit; its part registers stay. */
      readonly uploadId?: UploadId | undefined;
      /** Of the lock that this write holds: it is opened in the same step. Without it a locked chain throws Locked. */
      readonly fence?: number | undefined;
    }
  | {
      readonly type: "delete";
      readonly precondition: Precondition;
      /** As of commit. */
      readonly fence?: number | undefined;
    }
  /** A commit by the lock's holder, who keeps the lock. Throws FenceTooOld. */
  | { readonly type: "publish"; readonly fence: number; readonly entry: NewEntry }
  /**
   * A late replica of a block is durable, or one that was behind has caught up. No-op when the chain no longer names
   * the block.
   */
  | { readonly type: "addPointer"; readonly block: BlockId; readonly node: NodeId }
  /**
   * Changes the pointers of a block: `node` has its newest bytes now, `instead` is no replica any more and its copy
   * waits for deletion; either may be missing. No-op when the pointers are not `seen` any more, when a copy at `node`
   * waits for deletion, or when no newest copy would be left.
   */
  | {
      readonly type: "repair";
      readonly block: BlockId;
      readonly seen: readonly Pointer[];
      readonly node?: NodeId | undefined;
      readonly instead?: NodeId | undefined;
    }
  /** The replaced copy of a block at a node is deleted. */
  | { readonly type: "released"; readonly block: BlockId; readonly node: NodeId }
  | { readonly type: "createUpload"; readonly upload: Omit<Upload, "initiatedMs"> }
  | { readonly type: "abortUpload"; readonly uploadId: UploadId }
  /** Answers "referenced" when the chain names the block, else gives it up for good: "disowned". */
  | { readonly type: "disown"; readonly block: BlockId }
  /** These copies of garbage blocks are deleted. */
  | {
      readonly type: "freed";
      readonly copies: readonly { readonly block: BlockId; readonly node: NodeId }[];
      /** Uploads whose parts are gone. One whose `sinceMs` differs by now became garbage again: it stays. */
      readonly uploads: readonly { readonly uploadId: UploadId; readonly sinceMs: number }[];
    }
  | { readonly type: "acquire"; readonly holder: string; readonly leaseMs: number }
  | { readonly type: "renew"; readonly fence: number }
  | {
      readonly type: "update";
      readonly fence: number;
      readonly block: BlockId;
      readonly node: NodeId;
      readonly version: number;
    }
  | { readonly type: "release"; readonly fence: number; readonly entry?: NewEntry | undefined }
  | { readonly type: "expire"; readonly fence: number }
  | { readonly type: "cancel"; readonly requestId: RequestId };

export type ChainResult =
  | {
      readonly type: "committed";
      readonly version: number;
      readonly etag: string;
      readonly lastModifiedMs: number;
    }
  | { readonly type: "deleted"; readonly existed: boolean; readonly version: number }
  | { readonly type: "upload"; readonly upload: Upload }
  | { readonly type: "aborted" }
  | { readonly type: "pointer"; readonly changed: boolean }
  | { readonly type: "disowned" }
  | { readonly type: "referenced" }
  | { readonly type: "freed" }
  | { readonly type: "granted"; readonly fence: number; readonly leaseMs: number }
  | { readonly type: "queued"; readonly place: number }
  | { readonly type: "done" };

/**
 * Operations on the plain registers. A part's register is written once: sending a part again makes another register.
 * addPointer, repair, released and disown work on part registers too. disown of a part that is not there leaves a mark (a part with an
 * empty ETag, see isGivenUp) at which a late putPart fails with BlockDisowned.
 */
export type PartOperation =
  | { readonly type: "putPart"; readonly part: Omit<Part, "lastModifiedMs"> }
  | { readonly type: "deletePart" };
export type BucketOperation =
  | { readonly type: "createBucket"; readonly bucket: Omit<Bucket, "createdMs"> }
  | { readonly type: "deleteBucket"; readonly id: BucketId };
/** Operations on an access key's register. All but creation throw NoSuchAccessKey when there is none. */
export type AccessKeyOperation =
  | { readonly type: "createKey"; readonly accessKey: NewAccessKey }
  | { readonly type: "changeKey"; readonly change: AccessKeyChange }
  /** Notes a use; one that is older than known changes nothing. */
  | { readonly type: "touchKey"; readonly usedMs: number }
  | { readonly type: "deleteKey" };
/**
 * One gate a bucket and slice: key registerKey("gate", bucketId, ""). A closed one refuses commits, uploads and parts
 * of that bucket in the slice with NoSuchBucket; closing waits for those under way. Closing takes the gate over for
 * `closer`; opening does nothing unless `closer` closed it last: one DeleteBucket never opens what another relies on.
 */
export type GateOperation = {
  readonly type: "setGate";
  readonly open: boolean;
  readonly closer: RequestId;
};

/** Decides the members of the next epoch's view. Written once: whoever comes later gets what was decided. */
export type ViewOperation = { readonly type: "decideView"; readonly members: readonly VoterId[] };

/**
 * Makes a number of copies the setting of the cluster. `above`: a version that is in use already; where the register was
 * recovered from an older copy, it may be behind what the nodes have heard.
 */
export type CopiesOperation = {
  readonly type: "setCopies";
  readonly copies: Copies;
  readonly above: number;
};

export type RegisterOperation =
  | ChainOperation
  | PartOperation
  | BucketOperation
  | AccessKeyOperation
  | GateOperation
  | CopiesOperation
  | ViewOperation;

export type RegisterResult =
  | ChainResult
  | { readonly type: "part"; readonly part: Part; readonly replaced: Part | undefined }
  | { readonly type: "bucket"; readonly bucket: Bucket }
  | { readonly type: "accessKey"; readonly accessKey: AccessKey }
  | { readonly type: "copies"; readonly setting: CopiesSetting }
  | { readonly type: "view"; readonly members: readonly VoterId[] };

/** A register as a linearizable read found it. Values are decoded by kind. */
export type RegisterValue =
  | { readonly kind: "object"; readonly chain: Chain }
  | { readonly kind: "part"; readonly part: Part }
  | { readonly kind: "bucket"; readonly bucket: Bucket }
  | { readonly kind: "accessKey"; readonly accessKey: AccessKey }
  | { readonly kind: "gate"; readonly open: boolean; readonly closer: RequestId }
  | { readonly kind: "copies"; readonly setting: CopiesSetting }
  | { readonly kind: "view"; readonly members: readonly VoterId[] };

export interface RegisterRead {
  /** undefined: never written, or deleted. */
  readonly value: RegisterValue | undefined;
  /** The inline body, when it was asked for and there is one. */
  readonly body: Uint8Array | undefined;
}

export interface ScanRow {
  readonly key: RegisterKey;
  readonly value: RegisterValue;
}

export interface ScanRequest {
  readonly slice: Slice;
  /** Keys from (inclusive) .. to (exclusive), UTF-8 byte order. */
  readonly from: RegisterKey;
  readonly to: RegisterKey;
  /** Live rows wanted; a page may hold fewer. */
  readonly limit: number;
}

export interface ScanPage {
  /** Live rows in key order, each linearizable by itself. */
  readonly rows: readonly ScanRow[];
  /** Where the next page starts; undefined at the end of the range. */
  readonly next: RegisterKey | undefined;
}

export interface ExecuteOptions {
  readonly requestId: RequestId;
  /** Inline body of the entry or part that the operation writes. At most `inlineBytesMax`. */
  readonly body?: Uint8Array | undefined;
  /**
   * An earlier attempt under this requestId may still be under way. It then has no effect after this call's answer,
   * whatever the answer is; without it that is only sure while the slice keeps its leader.
   */
  readonly again?: boolean | undefined;
}

/** One thing to do for a block of a chain or part that this node leads. */
export type RepairStep = {
  readonly at: RegisterAddress;
  /** As the leader's replica has it. */
  readonly block: BlockRef;
} &
  /**
   * A copy of the newest bytes: at `onto`, made anew where the bytes there fail their check, or at a node that placement
   * chooses, in place of `instead` if given. Where `onto` cannot take it, another node may in its place.
   */
  (
    | {
        readonly kind: "copy";
        readonly onto?: NodeId | undefined;
        readonly instead?: NodeId | undefined;
      }
    /** A pointer that is one too many. The copies at `keep` are read whole before, and mended where they are damaged. */
    | { readonly kind: "drop"; readonly instead: NodeId; readonly keep: readonly NodeId[] }
    /** Deletion of a replaced copy at a node that is there again. */
    | { readonly kind: "release"; readonly node: NodeId }
  );

export interface SliceCount {
  readonly chains: number;
  readonly slicesHeld: number;
  readonly slicesLed: number;
  /** Blocks of chains led here that have fewer live replicas than wanted, and those that have more. */
  readonly underReplicated: number;
  readonly overReplicated: number;
  /** Blocks that this node, as a leader, repairs now or next. */
  readonly repairing: number;
  readonly views: {
    /** Changes under way that this node knows of. */
    readonly changing: number;
    /** Slices led here that have not as many voters as wanted. */
    readonly toResize: number;
    /** How long slices stood still at changes, as far as this node can tell. */
    readonly pauses: PauseSummary;
  };
}

export interface Index {
  /**
   * Runs one operation on one register, linearizably and at most once a requestId.
   * Throws RingstowError: what the operation refuses, or Unavailable / SlowDown when the outcome is unknown
   * after 20 s (the same requestId may be used to try again).
   */
  execute(
    at: RegisterAddress,
    operation: RegisterOperation,
    options: ExecuteOptions,
  ): Promise<RegisterResult>;
  /** Linearizable read; 1 round trip when a majority agrees. */
  read(at: RegisterAddress, options: { body: boolean }): Promise<RegisterRead>;
  /**
   * Tells a register's leader that a block of it wants repair: a copy that could not be made, or one at `bad` whose
   * bytes failed their check or are gone. Best effort: what is lost is found again, by the next read or the leader's
   * own look at its chains. Throws Unavailable when no leader answers.
   */
  report(at: RegisterAddress, block: BlockId, bad?: NodeId): Promise<void>;
  /** Pages of several slices at once: one message a node. Pages come back in the order of the requests. */
  scan(requests: readonly ScanRequest[]): Promise<ScanPage[]>;
  /** Current members of a slice, the leader this node believes in first. */
  view(slice: Slice): { epoch: number; members: readonly NodeId[]; leader: NodeId | undefined };
  /**
   * An operator's order: go on without nodes that are lost for good in slices whose majority is among them. Writes may
   * be lost. Gives what becomes of the slices that this node sees to; others see to the rest. Throws Unavailable when a
   * node does not answer that is not said to be lost.
   */
  recover(order: RequestOf<"index.recover">): Promise<ReplyOf<"index.recover">>;
  /**
   * Makes a number of copies the setting of the cluster: views and blocks follow by themselves. Gives the setting that
   * is decided; of two that race, one is later. Throws as execute().
   */
  setCopies(copies: Copies, requestId: RequestId): Promise<CopiesSetting>;
  counts(): Promise<SliceCount>;
  /** Hash over (key, version) of each slice held, for comparing replicas: slice -> hex digest. */
  digests(): Promise<ReadonlyMap<number, string>>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

const LETTER: Record<RegisterKind, string> = {
  object: "o",
  part: "p",
  bucket: "b",
  gate: "g",
  accessKey: "k",
  copies: "n",
  view: "c",
};
const KIND: Readonly<Record<string, RegisterKind>> = {
  o: "object",
  p: "part",
  b: "bucket",
  g: "gate",
  k: "accessKey",
  n: "copies",
  c: "view",
};

/** Whether a part's register only says that its blocks were given up before it was written. */
export function isGivenUp(part: Part): boolean {
  return part.etag === "";
}

export function registerKey(kind: RegisterKind, bucket: BucketId, key: string): RegisterKey {
  return (LETTER[kind] + bucket + key) as RegisterKey;
}

/** The register of a slice that says who follows the view of an epoch. Its value is never copied into that one. */
export function viewKey(epoch: number): RegisterKey {
  return (LETTER.view + epoch.toString(16).padStart(32, "0")) as RegisterKey;
}

export function kindOf(key: RegisterKey): RegisterKind {
  return KIND[key[0]!]!;
}

export function bucketOf(key: RegisterKey): BucketId {
  return key.slice(1, 33) as BucketId;
}

/** The raw key: an object's name, a part's `uploadId/00001/attempt`, a bucket's name, nothing for all others. */
export function nameOf(key: RegisterKey): string {
  return key.slice(33);
}
