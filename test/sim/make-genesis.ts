// The genesis of a simulated cluster: random ids, few slices, zones in turn.
import { type Genesis } from "../../shared/genesis.ts";
import { parseFolderId, parseNodeId, toHex } from "../../shared/ids.ts";
import { type SeededChance } from "./seeded-chance.ts";
import { SIM_EPOCH_MS } from "./virtual-clock.ts";

export interface GenesisOptions {
  readonly nodes: number;
  readonly copies?: number;
  readonly zones?: number;
}

/** Nodes by rising id; copies default to three, or what is odd and fits. */
export function makeGenesis(options: GenesisOptions, chance: SeededChance): Genesis {
  const ids = Array.from({ length: options.nodes }, () => toHex(chance.bytes(16))).toSorted();
  return {
    format: 1,
    clusterId: toHex(chance.bytes(16)),
    sliceBits: 4,
    copies: options.copies ?? Math.min(3, options.nodes - 1 + (options.nodes % 2)),
    createdMs: SIM_EPOCH_MS,
    nodes: ids.map((id, i) => ({
      id: parseNodeId(id),
      folder: parseFolderId(toHex(chance.bytes(8))),
      url: `http://node-${i}`,
      peerAddress: `node-${i}:1`,
      zone: `zone-${i % (options.zones ?? 1)}`,
    })),
  };
}
