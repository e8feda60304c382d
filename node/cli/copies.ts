// `ringstow copies`: asks a running cluster for another number of copies, and tells how far it has come.
import { type Copies, copiesSchema } from "../../shared/copies.ts";
import { type NodeStatus } from "../../shared/protocol/node.ts";
import { TransportError } from "../ports.ts";
import { commandLine } from "./command.ts";
import { CliError } from "./cli-error.ts";
import { readSecret } from "./cluster-files.ts";
import { newRequestId } from "./new-request-id.ts";
import { withPeers } from "./peer-session.ts";
import { type ClusterStatus, type NodeLine, clusterStatus, formatCopies } from "./status.ts";

/** Longer than a node tries: its own word on a failure is better than none. */
const callTimeoutMs = 25_000;

/** Throws CliError for what is no number of copies. */
export function parseCopies(text: string): Copies {
  const parsed = copiesSchema.safeParse(/^\d$/u.test(text) ? Number(text) : undefined);
  if (parsed.success) return parsed.data;
  throw new CliError(`Cannot keep "${text}" copies: it must be 1, 3 or 5`);
}

/** Resolves when the cluster has decided, with what there is to say; it does the rest by itself. */
export async function setCopies(data: string, copies: Copies): Promise<string> {
  const { nodes } = await clusterStatus(data);
  const addresses = nodes.flatMap(({ status }) => status?.peerAddress ?? []);
  const request = { copies, requestId: newRequestId() };
  await withPeers(await readSecret(data), "change the number of copies", async (peers) => {
    let last: unknown = new CliError("Cannot change the number of copies: no node answers");
    // One request, whoever carries it on: a node may die in the middle.
    for (const address of addresses) {
      try {
        return await peers.call({ address }, "node.copies", request, callTimeoutMs);
      } catch (error) {
        if (!(error instanceof TransportError)) throw error;
        last = error;
      }
    }
    throw last;
  });
  const decided = `${formatCopies(copies)} of everything from now on. The cluster sees to it by itself; "${commandLine("copies")}" tells how far it is.`;
  return [decided, ...tooFew(copies, nodes)].join("\n");
}

/** What is wanted, and what is still to be done for it. */
export function formatProgress({ copies, nodes }: ClusterStatus): string {
  if (!copies) return "No node answers.";
  const answering = nodes.flatMap(({ status }) => status ?? []);
  const knowing = answering.filter((node) => node.copies.version === copies.version).length;
  const sum = (count: (node: NodeStatus) => number): number =>
    answering.reduce((total, node) => total + count(node), 0);
  const toResize = sum(({ views }) => views.toResize);
  const under = sum(({ underReplicated }) => underReplicated);
  const over = sum(({ overReplicated }) => overReplicated);
  const repairing = sum((node) => node.repairing);
  const isDone = knowing === answering.length && toResize + under + over + repairing === 0;
  const rest =
    `${toResize} slices have another number of voters, ${under} blocks too few copies, ${over} too many; ` +
    `${repairing} repairs are under way`;
  const told = `${knowing} of ${answering.length} nodes that answer know it`;
  const wanted = `${formatCopies(copies.copies)} of everything ${copies.copies === 1 ? "is" : "are"} wanted`;
  return [
    `${wanted}; ${told}.`,
    ...tooFew(copies.copies, nodes),
    isDone ? "Nothing is left to do." : `${rest}.`,
  ].join("\n");
}

/** What to add when there are not as many nodes. */
export function tooFew(copies: number, nodes: readonly NodeLine[]): string[] {
  const members = nodes.filter(({ state }) => state !== "left").length;
  if (members >= copies) return [];
  return [
    `The cluster has ${members} ${members === 1 ? "node" : "nodes"}: there will be more copies when there are more nodes.`,
  ];
}
