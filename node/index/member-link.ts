// How the index reaches the members of a view: this node's own replica directly, the others by calls.
import { type VoterId } from "../../shared/ids.ts";
import { acceptTimeoutMs, callTimeoutMs, prepareTimeoutMs } from "../../shared/limits.ts";
import { type StoredRegister, type Want } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Ballot } from "../../shared/versions.ts";
import { type Peer } from "../ports.ts";
import { type Peers } from "../peers.ts";
import { type Route } from "../route/types.ts";
import { callMember } from "./call-member.ts";
import { type Replica } from "./replica.ts";
import {
  type AcceptReply,
  type NamesReply,
  type PrepareReply,
  type ReadFastReply,
  type ReadRegReply,
  type ScanReply,
} from "./replica-replies.ts";

export interface Claim {
  readonly slice: Slice;
  readonly ballot: Ballot;
}

export interface ScanRange {
  readonly slice: Slice;
  readonly from: string;
  readonly to: string;
  readonly limit: number;
  readonly want: Want;
}

/** Calls to one voter. Each throws TransportError when no answer came. */
export interface MemberLink {
  readonly self: VoterId;
  prepare(member: VoterId, claims: Claim[]): Promise<PrepareReply[]>;
  accept(member: VoterId, claim: Claim, writes: StoredRegister[]): Promise<AcceptReply>;
  readReg(member: VoterId, claim: Claim, keys: string[]): Promise<ReadRegReply>;
  names(member: VoterId, claim: Claim, after: string): Promise<NamesReply>;
  confirm(member: VoterId, claim: Claim): Promise<AcceptReply>;
  readFast(member: VoterId, slice: Slice, key: string, want: Want): Promise<ReadFastReply>;
  scan(member: VoterId, ranges: ScanRange[]): Promise<ScanReply[]>;
  /** This node's own copy. */
  readLocal(slice: Slice, key: string): StoredRegister;
}

export function createMemberLink(
  self: VoterId,
  replica: Replica,
  peers: Peers,
  route: Pick<Route, "peer" | "observed">,
): MemberLink {
  const remote = <T>(member: VoterId, call: (peer: Peer) => Promise<T>): Promise<T> =>
    callMember(route, member, call);
  return {
    self,
    prepare: async (member, claims) =>
      member === self
        ? replica.prepare(claims)
        : remote(member, (peer) => peers.call(peer, "index.prepare", { claims }, prepareTimeoutMs)),
    accept: async (member, { slice, ballot }, writes) =>
      member === self
        ? replica.accept(slice, ballot, writes)
        : remote(member, (peer) =>
            peers.call(peer, "index.accept", { slice, ballot, writes }, acceptTimeoutMs),
          ),
    readReg: async (member, { slice, ballot }, keys) =>
      member === self
        ? replica.readReg(slice, ballot, keys)
        : remote(member, (peer) =>
            peers.call(peer, "index.readreg", { slice, ballot, keys }, callTimeoutMs),
          ),
    names: async (member, { slice, ballot }, after) =>
      member === self
        ? replica.names(slice, ballot, after)
        : remote(member, (peer) =>
            peers.call(peer, "index.names", { slice, ballot, after }, prepareTimeoutMs),
          ),
    confirm: async (member, { slice, ballot }) =>
      member === self
        ? replica.confirm(slice, ballot)
        : remote(member, (peer) =>
            peers.call(peer, "index.confirm", { slice, ballot }, callTimeoutMs),
          ),
    readFast: async (member, slice, key, want) =>
      member === self
        ? replica.readFast(slice, key, want)
        : remote(member, (peer) =>
            peers.call(peer, "index.readfast", { slice, key, want }, callTimeoutMs),
          ),
    scan: async (member, ranges) =>
      member === self
        ? replica.scanAll(ranges)
        : remote(member, (peer) => peers.call(peer, "index.scan", { ranges }, prepareTimeoutMs)),
    readLocal: (slice, key) => replica.read(slice, key, "body"),
  };
}
