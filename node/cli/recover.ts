// `ringstow recover`: what an operator orders when nodes are lost for good.
import { type NodeId, parseNodeId } from "../../shared/ids.ts";
import { type ReplyOf } from "../../shared/protocol.ts";
import { readSecret } from "./cluster-files.ts";
import { CliError } from "./cli-error.ts";
import { withPeers } from "./peer-session.ts";
import { type NodeLine, clusterStatus } from "./status.ts";

/** A node asks all others for their views before, and those who have a part in a slice. */
const callTimeoutMs = 120_000;

export type RecoveryReport = ReplyOf<"index.recover">;

/**
 * Orders all nodes that are left to go on without some that are lost for good. Gives what becomes of the slices. Throws
 * CliError when one of the lost answers, or one of the others does not.
 * @param lost ids, or their first digits
 * @param startEmpty slices that nobody who is left holds begin with nothing
 */
export async function recoverCluster(
  data: string,
  lost: readonly string[],
  startEmpty: boolean,
): Promise<RecoveryReport> {
  const { nodes } = await clusterStatus(data, { askDead: true });
  const ids = lost.map((text) => idOf(text, nodes));
  const isLost = ({ id }: NodeLine): boolean => ids.includes(id as NodeId);
  const running = nodes.find((node) => isLost(node) && node.status);
  if (running) throw new CliError(`Cannot recover without node ${running.id}: it answers`);
  const silent = nodes.filter((node) => !isLost(node) && !node.status && node.state !== "left");
  if (silent.length > 0) {
    throw new CliError(
      `Cannot recover: no answer from ${silent.map(({ id }) => id).join(", ")}, which may hold what is newest. ` +
        "Start it again, or name it with --lost, too",
    );
  }
  const secret = await readSecret(data);
  const left = nodes.flatMap(({ status }) => status?.peerAddress ?? []);
  const total = { slices: 0, blocked: 0, empty: 0 };
  await withPeers(secret, "recover", async (peers) => {
    const orders = left.map(async (address, i) => {
      const order = { lost: ids, startEmpty, orphans: i === 0 };
      const reply = await peers.call({ address }, "index.recover", order, callTimeoutMs);
      total.slices += reply.slices;
      total.blocked += reply.blocked;
      total.empty += reply.empty;
    });
    const ends = await Promise.allSettled(orders);
    const failed = ends.find((end) => end.status === "rejected");
    if (failed) throw failed.reason;
  });
  return total;
}

/** For people; what is left to do included. */
export function formatRecovery(
  report: RecoveryReport,
  lost: readonly string[],
  startEmpty: boolean,
): string {
  const { slices, blocked, empty } = report;
  const lines = [`${slices} slices go on without ${lost.join(", ")}.`];
  if (blocked > 0) {
    lines.push(
      `${blocked} slices wait: they change just now, or not all who are left answered for them. Give the order again.`,
    );
  }
  if (empty > 0 && !startEmpty) {
    lines.push(
      `${empty} slices stay away: nobody who is left holds them. With --start-empty they begin with nothing: every name ` +
        "in them is gone then.",
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
