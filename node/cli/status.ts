// `ringstow status`: asks every node of a cluster what it holds, and shows the answers side by side.
import { randomBytes } from "node:crypto";
import { type CopiesSetting, isLater } from "../../shared/copies.ts";
import { authHeader, statusPath } from "../../shared/object-protocol.ts";
import { ANY_NODE, RequestSigner, deriveSecrets } from "../../shared/peer-auth.ts";
import {
  type MemberStatus,
  type NodeStatus,
  nodeStatusSchema,
} from "../../shared/protocol/node.ts";
import { CliError } from "./cli-error.ts";
import { readGenesis, readNodeUrls, readSecret } from "./cluster-files.ts";

export interface ClusterStatus {
  readonly clusterId: string;
  /** How many copies are wanted by the latest setting that a node told of; undefined when none answered. */
  readonly copies: CopiesSetting | undefined;
  readonly nodes: readonly NodeLine[];
}

export interface NodeLine extends MemberStatus {
  /** What the node says of itself; undefined when it does not answer. */
  readonly status: NodeStatus | undefined;
}

const timeoutMs = 5_000;

/** @param options askAll: members that others hold for dead, or that leave, too */
export async function clusterStatus(
  data: string,
  options: { askAll?: boolean } = {},
): Promise<ClusterStatus> {
  const genesis = await readGenesis(data);
  const secrets = deriveSecrets(await readSecret(data));
  const signer = new RequestSigner(secrets.gateway, randomBytes(16).toString("hex"), Date.now);
  const ask = async (url: string): Promise<unknown> => {
    const auth = signer.sign({ method: "GET", path: statusPath, args: "" }, ANY_NODE, {});
    const response = await fetch(`${url}${statusPath}`, {
      headers: { [authHeader]: auth },
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (!response.ok)
      throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
    return response.json();
  };
  const read = async (url: string): Promise<NodeStatus> => nodeStatusSchema.parse(await ask(url));
  const first = await firstOf(await readNodeUrls(data), read);
  const nodes = await Promise.all(
    first.members.map(async (member): Promise<NodeLine> => {
      const isThere = member.state === "alive" || member.state === "suspect";
      const answers = isThere || options.askAll === true;
      const status = answers ? await read(member.url).catch(() => undefined) : undefined;
      return { ...member, status };
    }),
  );
  const copies = nodes
    .flatMap(({ status }) => status?.copies ?? [])
    .reduce<CopiesSetting | undefined>(
      (latest, one) => (latest && !isLater(one, latest) ? latest : one),
      undefined,
    );
  return { clusterId: genesis.clusterId, copies, nodes };
}

/** A number of copies, for people. */
export function formatCopies(copies: number): string {
  return copies === 1 ? "1 copy" : `${copies} copies`;
}

async function firstOf<T>(urls: readonly string[], ask: (url: string) => Promise<T>): Promise<T> {
  let last: unknown;
  for (const url of urls) {
    try {
      return await ask(url);
    } catch (error) {
      last = error;
    }
  }
  throw new CliError(
    `No node answers (${urls.join(", ")}): ${(last as Error)?.message ?? "no nodes"}. Is the cluster running?`,
  );
}

/** The status as a table for people. */
export function formatStatus(status: ClusterStatus, nowMs: number): string {
  const header = [
    "node",
    "zone",
    "state",
    "since",
    "arc",
    "used",
    "free",
    "blocks",
    "chains",
    "slices",
    "led",
    "under-replicated",
    "over-replicated",
    "repairing",
    "changing",
  ];
  const rows = status.nodes.map(({ id, zone, state, sinceMs, status: node }) => [
    id.slice(0, 8),
    zone,
    node || state !== "alive" ? state : "no answer",
    age(nowMs - sinceMs),
    ...(node
      ? [
          `${(node.arcShare * 100).toFixed(1)} %`,
          bytes(node.usedBytes),
          bytes(node.freeBytes),
          String(node.blocks),
          String(node.chains),
          String(node.slicesHeld),
          String(node.slicesLed),
          String(node.underReplicated),
          String(node.overReplicated),
          String(node.repairing),
          String(node.views.changing),
        ]
      : ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
  ]);
  const widths = header.map((name, i) =>
    Math.max(name.length, ...rows.map((row) => row[i]!.length)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join("  ")
      .trimEnd();
  const wanted = status.copies ? `, ${formatCopies(status.copies.copies)} of everything` : "";
  return [`cluster ${status.clusterId}${wanted}`, line(header), ...rows.map(line)].join("\n");
}

function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800
    ? `${Math.round(seconds / 3600)} h`
    : `${Math.round(seconds / 86_400)} d`;
}

/** 1 GiB as "1.0 GiB". */
export function bytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${units[unit]}`;
}
