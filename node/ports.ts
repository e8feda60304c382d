// Everything a node needs from outside: time, chance, disk, network, digests, a log. The modules see only this
// file; `runtime/` fulfils it for real, `runtime/memory-*` and the simulator in memory. One conformance suite
// (test/conformance) holds every implementation to what is written here.
import { type BlockId, type NodeId } from "../shared/ids.ts";
import { type ChecksumAlgorithm } from "../shared/records.ts";

// ---------------------------------------------------------------- time and chance

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since some start; never goes back. For leases and time-outs. */
  monotonicMs(): number;
  /** Milliseconds since 1970 as the host believes. Only for Last-Modified and signatures. */
  wallMs(): number;
  /** Calls `action` once, `delayMs` from now. A pending timer does not keep the process alive. */
  after(delayMs: number, action: () => void): Timer;
}

export interface Chance {
  /** Random bytes, unpredictable in production. */
  bytes(count: number): Uint8Array;
  /** Uniform in 0 <= x < 1. */
  fraction(): number;
}

// ---------------------------------------------------------------- ordered store

export interface Row {
  readonly key: string;
  readonly value: Uint8Array;
}

export interface StoreWrite {
  readonly key: string;
  /** undefined deletes the row. */
  readonly value: Uint8Array | undefined;
}

export interface StoreRange {
  /** First key, inclusive. */
  readonly from: string;
  /** End, exclusive. */
  readonly to: string;
  /** At most this many rows. */
  readonly limit: number;
}

/**
 * Ordered key-value store, keys sorted by their UTF-8 bytes.
 * Order rules: write() resolves only after fsync; a batch is all or nothing; batches become visible and durable in
 * the order of the calls; what is not yet durable is invisible to get() and range().
 * Keys are well-formed strings without NUL. A returned value must not be changed by the caller, nor a value after
 * it was handed in.
 */
export interface Store {
  get(key: string): Uint8Array | undefined;
  /** Rows of one consistent snapshot taken at the call, in key order. */
  range(range: StoreRange): Promise<Row[]>;
  /** Batches that wait at the same time share one fsync. Rejects when the disk refuses; then nothing was written. */
  write(writes: readonly StoreWrite[]): Promise<void>;
  /** Resolves when every write() called before has ended, well or not. */
  settled(): Promise<void>;
  /** Ends pending writes, then closes. */
  close(): Promise<void>;
}

// ---------------------------------------------------------------- block files

/** What the store remembers of a sealed block; also the file's footer. */
export interface BlockSeal {
  /** Bytes of data. */
  readonly size: number;
  /** CRC-32 of each piece of `pieceBytes`, the last one shorter. */
  readonly pieceCrcs: Uint32Array;
}

export interface BlockWriter {
  /** Appends. Resolves when the writer can take more (back-pressure); the chunk is not kept afterwards. */
  write(chunk: Uint8Array): Promise<void>;
  /** Footer, fdatasync, rename, directory fsync. Only after this the block exists. */
  seal(): Promise<BlockSeal>;
  /** Removes the temporary file. Safe at any time, also after seal() failed. */
  abort(): Promise<void>;
}

export interface DraftWriter {
  /** Bytes so far; a gap that nobody wrote reads as zeros. */
  readonly size: number;
  /** Writes bytes at an offset; the chunk is not kept afterwards. */
  write(at: number, chunk: Uint8Array): Promise<void>;
  /** Cuts or extends to `size` bytes. */
  truncate(size: number): Promise<void>;
  /** As BlockWriter's; reads the bytes back once for their checks. */
  seal(): Promise<BlockSeal>;
  abort(): Promise<void>;
}

export interface BlockInfo {
  readonly id: BlockId;
  /** Bytes of data. */
  readonly size: number;
}

/** What a node's disk holds and offers, in bytes. */
export interface DiskUsage {
  /** Free for new blocks. */
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** Taken by blocks. */
  readonly usedBytes: number;
  /** Number of blocks. */
  readonly blocks: number;
}

/**
 * Immutable block files. A block is written to a temporary name, sealed with its length and a CRC-32 for every
 * piece, synced, renamed, its directory synced; temporary files of an earlier process are removed at open.
 */
export interface BlockFiles {
  /** Fails with DiskFull below the reserve. A second writer of one id replaces nothing: its seal() rejects. */
  create(id: BlockId): Promise<BlockWriter>;
  /**
   * A block that is written in any order before it is sealed. Fails with DiskFull below the reserve. Like every
   * temporary file it is gone after a restart.
   */
  createDraft(id: BlockId): Promise<DraftWriter>;
  /**
   * A second name of a sealed block's bytes, durable when it resolves; deleting one leaves the other. Throws NoSuchKey
   * when there is no `from`. Linking twice does no harm.
   */
  link(from: BlockId, to: BlockId): Promise<BlockInfo>;
  /**
   * Bytes from..to (exclusive) in chunks of at most `streamChunkBytes`, from then on the caller's; each piece touched is
   * verified first.
   * Throws RingstowError Corrupt at a bad piece, NoSuchKey when there is no such block.
   */
  read(id: BlockId, from: number, to: number): AsyncIterable<Uint8Array>;
  /** Size of a sealed block; undefined when there is none. */
  stat(id: BlockId): Promise<BlockInfo | undefined>;
  /** Removes a block; true when it existed. Durable when it resolves. */
  delete(id: BlockId): Promise<boolean>;
  /** Free and total bytes of the file system, and bytes that blocks use. */
  usage(): Promise<DiskUsage>;
  close(): Promise<void>;
}

// ---------------------------------------------------------------- network between nodes

/** Whom to call. `id` is checked against the answering node when it is given. */
export interface Peer {
  /** host:port of the peer link. */
  readonly address: string;
  readonly id?: NodeId | undefined;
}

export type TransportFailure = "unreachable" | "timeout" | "closed";

/** No answer came: the callee may or may not have done the work. */
export class TransportError extends Error {
  readonly failure: TransportFailure;
  constructor(failure: TransportFailure, message: string) {
    super(message);
    this.name = "TransportError";
    this.failure = failure;
  }
}

/** A two-way stream of byte chunks; chunk borders are kept, both directions have back-pressure. */
export interface PeerStream {
  /**
   * Resolves when the window has room for the next chunk; rejects when the stream is gone. Chunks are at most
   * `streamChunkBytes`, and copied before this returns.
   */
  send(chunk: Uint8Array): Promise<void>;
  /** Next chunk, from then on the caller's; undefined after the other side's end(). Rejects with TransportError when the stream broke. */
  receive(): Promise<Uint8Array | undefined>;
  /** No more sends from this side. */
  end(): void;
  /** Breaks the stream in both directions. Idempotent; harmless after both ends. */
  reset(reason: string): void;
}

export interface Caller {
  readonly id: NodeId | undefined;
  readonly address: string;
}

export interface PeerHandlers {
  /** Answers a call. A thrown RingstowError travels to the caller with its code; any other throw as Internal. */
  call(name: string, request: unknown, caller: Caller): Promise<unknown>;
  /** Serves a stream that a peer opened. When it rejects, the stream is reset. */
  stream(name: string, header: unknown, stream: PeerStream, caller: Caller): Promise<void>;
}

/**
 * Calls and streams between nodes. Requests and replies are plain data: null, booleans, numbers, strings, arrays,
 * objects (undefined members are dropped), Uint8Array. At most once: never sent again by the transport itself.
 * Messages that wait at the same time leave in one write.
 */
export interface Transport {
  /** Throws TransportError when no answer came in time, RingstowError when the callee threw one. */
  call(peer: Peer, name: string, request: unknown, timeoutMs: number): Promise<unknown>;
  open(peer: Peer, name: string, header: unknown, timeoutMs: number): Promise<PeerStream>;
  /** Starts to answer. Called once, by compose. */
  serve(handlers: PeerHandlers): void;
  close(): Promise<void>;
}

// ---------------------------------------------------------------- digests and log

export interface Hasher {
  update(chunk: Uint8Array): void;
  /** Ends the hash. */
  digest(): Uint8Array;
}

export interface Digest {
  start(algorithm: "md5" | ChecksumAlgorithm): Hasher;
  /** CRC-32 (zlib's), continued from `previous`. */
  crc32(chunk: Uint8Array, previous?: number): number;
}

export interface Log {
  /** `event` is a constant sentence; what varies goes into `fields`. */
  info(event: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(event: string, fields?: Readonly<Record<string, unknown>>): void;
  error(event: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** All that compose() needs. */
export interface Ports {
  readonly clock: Clock;
  readonly chance: Chance;
  readonly store: Store;
  readonly blocks: BlockFiles;
  readonly transport: Transport;
  readonly digest: Digest;
  readonly log: Log;
}
