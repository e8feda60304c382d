// One replica of a block as a source of bytes: this node's own file, or a "data.read" stream to a peer.
import { assert, RingstowError } from "../../shared/errors.ts";
import { type BlockId, type NodeId } from "../../shared/ids.ts";
import { readStallMs } from "../../shared/limits.ts";
import { readHeadSchema } from "../../shared/protocol/data.ts";
import { type Peers } from "../peers.ts";
import {
  type BlockFiles,
  type Clock,
  type Peer,
  type PeerStream,
  TransportError,
} from "../ports.ts";
import { refusalOf } from "./read-server.ts";
import { within } from "./within.ts";

/** Bytes from..to (exclusive) of a block. */
export interface ReadSpan {
  readonly block: BlockId;
  readonly from: number;
  readonly to: number;
}

export interface ReplicaSource {
  readonly node: NodeId;
  /** Next bytes; undefined at the end. Throws when the replica breaks, sends too much, or nothing for `readStallMs`. */
  next(): Promise<Uint8Array | undefined>;
  /** Releases file or stream. Idempotent. */
  close(): void;
}

/** A source that is being opened; close() also stops what is under way. */
export interface OpeningSource {
  readonly node: NodeId;
  /** Resolves when the first piece was read and verified there. */
  readonly ready: Promise<ReplicaSource>;
  close(): void;
}

const decoder = new TextDecoder();

/** This node's own replica. */
export function openLocal(blocks: BlockFiles, node: NodeId, span: ReadSpan): OpeningSource {
  const chunks = blocks.read(span.block, span.from, span.to)[Symbol.asyncIterator]();
  const close = (): void => {
    // A file that cannot be closed has been read to its end or has failed: the reader knows already.
    chunks.return?.().catch(() => {});
  };
  const open = async (): Promise<ReplicaSource> => {
    let first: IteratorResult<Uint8Array> | undefined = await chunks.next();
    const next = async (): Promise<Uint8Array | undefined> => {
      const result = first ?? (await chunks.next());
      first = undefined;
      return result.done ? undefined : result.value;
    };
    return { node, next, close };
  };
  return { node, ready: open(), close };
}

/** A peer's replica. */
export function openRemote(
  deps: { peers: Peers; clock: Clock },
  node: NodeId,
  peer: Peer,
  span: ReadSpan,
): OpeningSource {
  const { peers, clock } = deps;
  let stream: PeerStream | undefined;
  let closed = false;
  const close = (): void => {
    closed = true;
    stream?.reset("the reader needs no more");
  };
  const receive = (from: PeerStream): Promise<Uint8Array | undefined> =>
    within(clock, readStallMs, `read from node "${node}"`, from.receive());
  const open = async (): Promise<ReplicaSource> => {
    const opened = await peers.open({ ...peer, id: node }, "data.read", span, readStallMs);
    stream = opened;
    if (closed) opened.reset("the reader needs no more");
    const message = await receive(opened);
    if (message === undefined)
      throw new TransportError("closed", `Cannot read from node "${node}": no head`);
    const head = readHeadSchema.parse(JSON.parse(decoder.decode(message)));
    if (head.type === "refused") throw refusalOf(head);
    opened.end(); // nothing more to say: with both ends the stream is done
    return { node, next: () => receive(opened), close };
  };
  return { node, ready: open(), close };
}

/** A source that may not send more than it should; the reader itself notices when it sends less. */
export function bounded(source: ReplicaSource, bytes: number): ReplicaSource {
  assert(bytes >= 0, "a span has no negative length");
  let left = bytes;
  const next = async (): Promise<Uint8Array | undefined> => {
    const chunk = await source.next();
    left -= chunk?.length ?? 0;
    if (left < 0)
      throw new RingstowError("Corrupt", `Node "${source.node}" sent more than was asked for`);
    return chunk;
  };
  return { node: source.node, next, close: () => source.close() };
}
