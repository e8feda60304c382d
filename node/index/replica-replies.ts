// What a replica answers; the shapes of shared/protocol/index-calls.ts.
import { type ReplyOf } from "../../shared/protocol.ts";

export type PrepareReply = ReplyOf<"index.prepare">[number];
export type AcceptReply = ReplyOf<"index.accept">;
export type ReadRegReply = ReplyOf<"index.readreg">;
export type NamesReply = ReplyOf<"index.names">;
export type ReadFastReply = ReplyOf<"index.readfast">;
export type ScanReply = ReplyOf<"index.scan">[number];
export type SealReply = ReplyOf<"index.seal">;
export type SnapshotReply = ReplyOf<"index.snapshot">;
