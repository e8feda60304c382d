// What the other modules may know of the ring: who is there, who is near a point, who to ask next.
import { type FolderId, type NodeId, type RingId, type VoterId } from "../../shared/ids.ts";
import { type Position } from "../../shared/nearest.ts";
import { type Peer } from "../ports.ts";

export type MemberState = "alive" | "suspect" | "dead" | "left";

/** One line of the member table. */
export interface Member {
  readonly id: NodeId;
  readonly folder: FolderId;
  /** Base URL of the node's HTTP app, for gateways and clients. */
  readonly url: string;
  /** host:port of the node's peer link. */
  readonly peerAddress: string;
  readonly zone: string;
  readonly position: Position | undefined;
  /** Bytes that the node offers in all. */
  readonly capacityBytes: number;
  readonly freeBytes: number;
  /** Grows at every start and refutation; an older one is stale. */
  readonly incarnation: number;
  readonly state: MemberState;
  /** Wall ms at which `state` began, as its observer saw it. */
  readonly sinceMs: number;
}

export interface LookupResult {
  /** The ring's opinion of who is responsible: a hint, never an authority. */
  readonly owner: Member;
  /** Calls to other nodes that the lookup needed. */
  readonly hops: number;
  /** Nodes visited, in order, this one first. */
  readonly path: readonly NodeId[];
}

export interface Ring {
  readonly successors: readonly NodeId[];
  readonly predecessor: NodeId | undefined;
}

export interface Route {
  readonly self: Member;
  readonly voter: VoterId;
  /** All members known, dead ones too, by rising id. */
  members(): readonly Member[];
  /** Members that are alive or suspect, by rising id, this node included. */
  live(): readonly Member[];
  find(id: NodeId): Member | undefined;
  /** How to reach a member, if it is known. */
  peer(id: NodeId): Peer | undefined;
  /** Finds who is responsible for a point: one hop by the table, O(log N) by fingers. */
  lookup(point: RingId): Promise<LookupResult>;
  /** The first `count` live nodes at or after a point, in distinct zones as far as there are zones. */
  desired(point: RingId, count: number): readonly Member[];
  /** This node's view of its neighbours. */
  ring(): Ring;
  /** Share of the ring from the predecessor to each live member, 0..1. */
  arcShare(id: NodeId): number;
  /** Calls back after a member's state or address changed. Returns how to stop it. */
  onChange(listener: (member: Member, previous: Member | undefined) => void): () => void;
  /** Tells the table what this node itself offers. */
  announce(free: { capacityBytes: number; freeBytes: number }): void;
  /** A call to a member failed or succeeded: a hint for the failure detector. */
  observed(id: NodeId, reachable: boolean): void;
  start(): Promise<void>;
  stop(): Promise<void>;
}
