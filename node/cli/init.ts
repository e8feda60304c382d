// `ringstow init`: makes a new cluster, one data folder a node, with ids spread evenly over the ring.
import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Genesis } from "../../shared/genesis.ts";
import { parseFolderId } from "../../shared/ids.ts";
import { copiesDefault, sliceBitsDefault } from "../../shared/limits.ts";
import { advance, toRingId } from "../../shared/ring.ts";
import { type NodeId } from "../../shared/ids.ts";
import { CliError } from "./cli-error.ts";
import { writeGenesis, writeNodeFile, writeSecret } from "./cluster-files.ts";

export interface InitOptions {
  /** Folder that gets node-1 .. node-N. */
  readonly data: string;
  /** Addresses of the nodes, one each. */
  readonly nodes: readonly {
    readonly url: string;
    readonly peerAddress: string;
    readonly zone: string;
  }[];
  readonly copies?: number | undefined;
  readonly sliceBits?: number | undefined;
}

/** Data folder of the n-th node, counted from 1. */
export function nodeFolder(data: string, n: number): string {
  return join(data, `node-${n}`);
}

/** Makes the files. Refuses to touch a folder that has a cluster already. */
export async function initCluster(options: InitOptions): Promise<Genesis> {
  await requireEmpty(options.data);
  const ids = evenIds(options.nodes.length);
  const nodes = options.nodes.map((node, i) => ({
    ...node,
    id: ids[i]!,
    folder: parseFolderId(randomBytes(8).toString("hex")),
  }));
  const genesis: Genesis = {
    format: 1,
    clusterId: randomBytes(16).toString("hex"),
    sliceBits: options.sliceBits ?? sliceBitsDefault,
    copies: options.copies ?? copiesDefault,
    createdMs: Date.now(),
    nodes: nodes.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
  };
  const secret = randomBytes(32);
  for (const [i, node] of nodes.entries()) {
    const folder = nodeFolder(options.data, i + 1);
    await writeSecret(folder, secret);
    await writeNodeFile(folder, {
      id: node.id,
      folder: node.folder,
      incarnation: 0,
      started: false,
    });
    await writeGenesis(folder, genesis);
  }
  await writeSecret(options.data, secret);
  // Last: a folder with a genesis file is a whole cluster.
  await writeGenesis(options.data, genesis);
  return genesis;
}

/** Positions at equal distances, the low half random so that no two clusters share ids. */
function evenIds(count: number): NodeId[] {
  const arc = (1n << 128n) / BigInt(count);
  const start = toRingId(BigInt(`0x${randomBytes(16).toString("hex")}`));
  return Array.from({ length: count }, (_, i) => {
    const even = advance(start, arc * BigInt(i));
    return (even.slice(0, 16) + randomBytes(8).toString("hex")) as NodeId;
  });
}

async function requireEmpty(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw new CliError(
      `Cannot make ${folder}: ${(error as Error).message}. Choose another folder with --data.`,
    );
  }
  const names = await readdir(folder);
  const nodes = names.filter((name) => /^node-\d+$/u.test(name));
  // An init that was cut off leaves folders in which no node has ever started: they hold nothing. Any other file in
  // them is a node's, or has nothing to do with us.
  const contents = await Promise.all(nodes.map((name) => namesIn(join(folder, name))));
  const foreign = contents.flat().some((name) => !MADE_HERE.test(name));
  if (names.includes("genesis.json") || foreign) {
    throw new CliError(
      `Cannot make a cluster in ${folder}: one is there already. Choose another folder with --data.`,
    );
  }
  for (const name of nodes) await rm(join(folder, name), { recursive: true });
}

/** The files that initCluster makes for a node, and what writeDurably writes first. */
const MADE_HERE = /^(?:cluster\.secret|node\.json|genesis\.json)(?:\.new)?$/u;

/** Names in a folder; what is no folder counts as holding itself. */
async function namesIn(path: string): Promise<readonly string[]> {
  return (await stat(path)).isDirectory() ? readdir(path) : [path];
}
