// What a cluster without work sends.
import { type ChaosCluster } from "./chaos-cluster.ts";

export interface Idle {
  readonly seconds: number;
  /** Between nodes, encrypted, both directions, of one node. */
  readonly peerBytesPerSecond: number;
  /** From gateways to nodes, of all. */
  readonly httpBytesPerSecond: number;
}

/** Counts for a while; the time is what is measured over, nothing is waited for. */
export async function measureIdle(cluster: ChaosCluster, seconds: number): Promise<Idle> {
  const { relays, nodes } = cluster;
  const startedMs = performance.now();
  const before = { peer: relays.bytes("peer"), http: relays.bytes("http") };
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  const took = (performance.now() - startedMs) / 1000;
  return {
    seconds: took,
    peerBytesPerSecond: (relays.bytes("peer") - before.peer) / took / nodes.length,
    httpBytesPerSecond: (relays.bytes("http") - before.http) / took,
  };
}
