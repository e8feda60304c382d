// What one chain operation takes besides the chain, and what it gives.
import { type RequestId } from "../../shared/ids.ts";
import { type Chain, type ChainResult } from "./types.ts";

export interface OperationContext {
  /** Wall clock of the leader, for Last-Modified and the age of garbage only. */
  readonly wallMs: number;
  readonly requestId: RequestId;
}

export interface ChainStep {
  readonly chain: Chain;
  readonly result: ChainResult;
}

export const step = (chain: Chain, result: ChainResult): ChainStep => ({ chain, result });
