// How much memory the processes of a cluster took at most, and the limit they keep whatever bodies pass through.
import { expect } from "vitest";
import { type DevFile, residentBytes } from "./dev-cluster.ts";

const RSS_MAX_BYTES = 300_000_000;

/** Prints each process's peak resident memory since its start and fails for one above 300 MB. */
export function expectSmallProcesses(when: string, { nodes, gatewayPid }: DevFile): void {
  const processes = nodes.map(({ id, pid }) => [id.slice(0, 8), pid] as const);
  const peaks = [...processes, ["gateway", gatewayPid] as const].map(
    ([name, pid]) => [name, residentBytes(pid, true)] as const,
  );
  const text = peaks.map(([name, bytes]) => `${name} ${Math.round(bytes / 1e6)}`).join(", ");
  console.log(`Peak memory, MB, ${when}: ${text}`);
  for (const [name, bytes] of peaks) expect(bytes, name).toBeLessThan(RSS_MAX_BYTES);
}
