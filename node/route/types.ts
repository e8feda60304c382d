// What the other modules may know of the ring: who is there, who is near a point, who to ask next.
import { type CopiesSetting } from "../../shared/copies.ts";
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
  /**
   * The first `count` nodes at or after a point, in distinct zones as far as there are zones.
   * @param among who comes into question, by rising id; else who is live
   */
  desired(point: RingId, count: number, among?: readonly Member[]): readonly Member[];
  /** This node's view of its neighbours. */
  ring(): Ring;
  /** Share of the ring from the predecessor to each live member, 0..1. */
  arcShare(id: NodeId): number;
  /** Calls back after a member's state or address changed. Returns how to stop it. */
  onChange(listener: (member: Member, previous: Member | undefined) => void): () => void;
  /**
   * Calls back when this node hears that it counted as dead: others went on without it, and it may not have seen that.
   * Returns how to stop it.
   */
  onRevived(listener: () => void): () => void;
  /**
   * How long a member has been live without a break, in ms of this node's monotonic clock since this node started;
   * 0 when it is not live. A suspicion that is refuted, or a restart that nobody noticed, is no break.
   */
  aliveForMs(id: NodeId): number;
  /** How long a member has been dead or gone, in the same way; 0 when it is live or unknown. */
  deadForMs(id: NodeId): number;
  /**
   * Leaves for good: others count this node as "left" at once, and its ring closes over it; it goes on to answer calls.
   * Only a new start with a higher incarnation brings it back. Idempotent. Throws Unavailable when no member hears it;
   * then it may be called again.
   */
  leave(): Promise<void>;
  /** Tells the table what this node itself offers. */
  announce(free: { capacityBytes: number; freeBytes: number }): void;
  /** How many copies of everything the cluster is to keep, as far as this node has heard. */
  copies(): CopiesSetting;
  /** Takes over what was decided if it is later, and tells the others. */
  learnCopies(setting: CopiesSetting): void;
  /** Whether a member gives a sign of life within so long. */
  reaches(id: NodeId, timeoutMs: number): Promise<boolean>;
  /** A call to a member failed or succeeded: a hint for the failure detector. */
  observed(id: NodeId, reachable: boolean): void;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Whether a member may answer: it is there, or only suspected of not being. */
export const isLive = (member: Pick<Member, "state"> | undefined): boolean =>
  member?.state === "alive" || member?.state === "suspect";

/** Nodes that count: dead ones may come back, those that left do not. */
export function nodesOf(route: Pick<Route, "members">): number {
  return route.members().filter(({ state }) => state !== "left").length;
}

/** Copies that a block should have: as many as the cluster is to keep, if there are as many nodes. */
export function copiesWanted(route: Pick<Route, "members" | "copies">): number {
  return Math.max(1, Math.min(route.copies().copies, nodesOf(route)));
}
