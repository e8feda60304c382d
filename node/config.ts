// What compose() needs to know besides ports.
import { type Genesis } from "../shared/genesis.ts";
import { type FolderId, type NodeId } from "../shared/ids.ts";
import { type Position } from "../shared/nearest.ts";

export interface NodeConfig {
  readonly genesis: Genesis;
  readonly id: NodeId;
  readonly folder: FolderId;
  /** Base URL for gateways and clients. */
  readonly url: string;
  /** host:port that peers connect to. */
  readonly peerAddress: string;
  readonly zone: string;
  readonly position: Position | undefined;
  /** How often this data folder was started, this time counted: none of its lives has another's number. */
  readonly starts: number;
  /** "fingers" forces Chord's path even when the member table knows the owner. */
  readonly routing: "table" | "fingers";
  /** Peers to ask when this node is not in genesis: joins through them. */
  readonly seeds: readonly string[];
  /** How long a new node is alive before it gets places in views, ms; default `joinAfterDefaultMs`. */
  readonly joinAfterMs?: number | undefined;
  /** How long a dead node keeps its places, ms; default `repairAfterDefaultMs`. */
  readonly repairAfterMs?: number | undefined;
  /** How long a leader waits between two changes of views where nobody is in need, ms; default `movePauseDefaultMs`. */
  readonly movePauseMs?: number | undefined;
  /** Secret of the gateway-to-node hop, 32 bytes. */
  readonly gatewaySecret: Uint8Array;
  /** Opens sealed signing keys and verifies access tokens, 32 bytes. */
  readonly hopSecret: Uint8Array;
}
