// `ringstow recover`: what an operator orders when nodes are lost for good.
import { type NodeId, parseNodeId } from "../../shared/ids.ts";
import { type ReplyOf } from "../../shared/protocol.ts";
import { readSecret } from "./cluster-files.ts";
import { CliError } from "./cli-error.ts";
import { withPeers } from "./peer-session.ts";
import { type NodeLine, clusterStatus } from "./status.ts";

/** A node asks all others for their views before, and those who have a part in a slice. */
const callTimeoutMs = 120_000;

/** What becomes of the slices that lost their majority. */
export interface RecoveryReport {
  /** How many go on. */
  readonly slices: number;
  /** How many cannot yet, and some reasons. */
  readonly blocked: number;
  readonly reasons: readonly string[];
  /** How many nobody who is left holds. */
  readonly unheld: number;
}

/**
 * Orders all nodes that are left to go on without some that are lost for good. Throws CliError when one of the lost
 * answers, or one of the others does not.
 * @param lost ids, or their first digits
 * @param startAnyway slices that nobody who is left holds begin with what happens to be there
 */
export async function recoverCluster(
  data: string,
  lost: readonly string[],
  startAnyway: boolean,
): Promise<RecoveryReport> {
  const { nodes } = await clusterStatus(data, { askAll: true });
  const named = new Set(lost.map((text) => idOf(text, nodes)));
  const running = nodes.find(({ id, status }) => named.has(id as NodeId) && status);
  if (running) throw new CliError(`Cannot recover without node ${running.id}: it answers`);
  const silent = nodes.filter(({ id, status }) => !named.has(id as NodeId) && !status);
  const missing = silent.filter(({ state }) => state !== "left");
  if (missing.length > 0) {
    throw new CliError(
      `Cannot recover: no answer from ${missing.map(({ id }) => id).join(", ")}, which may hold what is newest. ` +
        "Start it again, or name it with --lost, too",
    );
  }
  // One that left the cluster, and does not even finish that, is as good as lost.
  const ids = [...named, ...silent.map(({ id }) => id as NodeId)];
  const addresses = nodes.flatMap(({ status }) => status?.peerAddress ?? []);
  return withPeers(await readSecret(data), "recover", async (peers) => {
    const orders = addresses.map((address, i) => {
      const order = { lost: ids, startAnyway, orphans: i === 0 };
      return peers.call({ address }, "index.recover", order, callTimeoutMs);
    });
    // All are waited for: what one refuses, others may have begun.
    const ends = await Promise.allSettled(orders);
    const failed = ends.find((end) => end.status === "rejected");
    if (failed) throw failed.reason;
    return addUp(ends.flatMap((end) => (end.status === "fulfilled" ? [end.value] : [])));
  });
}

/** Several nodes may wait for the same slice. */
function addUp(replies: readonly ReplyOf<"index.recover">[]): RecoveryReport {
  return {
    slices: replies.reduce((sum, { slices }) => sum + slices, 0),
    blocked: new Set(replies.flatMap(({ blocked }) => blocked)).size,
    reasons: [...new Set(replies.flatMap(({ reasons }) => reasons))],
    unheld: replies.reduce((sum, { unheld }) => sum + unheld, 0),
  };
}

/** For people; what is left to do included. */
export function formatRecovery(
  { slices, blocked, reasons, unheld }: RecoveryReport,
  lost: readonly string[],
): string {
  const lines = [`${slices} slices go on without ${lost.join(", ")}.`];
  if (blocked > 0) {
    const why = reasons.map((reason) => `  ${reason}\n`).join("");
    lines.push(`${blocked} slices cannot yet:\n${why}Give the order again.`);
  }
  if (unheld > 0) {
    lines.push(
      `${unheld} slices stay away: nobody who is left holds them. With --start-anyway they begin with what happens to be ` +
        "there, which is old or nothing: most names in them are gone then.",
    );
  }
  return lines.join("\n");
}

/** A node that nobody remembers is named by its whole id. */
function idOf(text: string, nodes: readonly NodeLine[]): NodeId {
  const found = nodes.filter(({ id }) => id.startsWith(text));
  if (found.length === 1) return found[0]!.id as NodeId;
  if (found.length === 0 && /^[0-9a-f]{32}$/u.test(text)) return parseNodeId(text);
  throw new CliError(`Cannot recover: "${text}" names ${found.length} nodes, not one`);
}
