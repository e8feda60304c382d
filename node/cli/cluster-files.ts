// The files of a cluster and of one node, beside its registers and blocks:
//   genesis.json      what is fixed for ever, with its checksum; the same bytes on every node
//   cluster.secret    32 bytes in hex, readable by the owner only; the same on every node
//   credentials.json  only of `ringstow dev`: the key that it made, with its secret
//   node.json         who this data folder is; never copied, and never made again for a wiped disk
import { createHash } from "node:crypto";
import { join } from "node:path";
import * as z from "zod/mini";
import { type Genesis, folderIdSchema, genesisSchema } from "../../shared/genesis.ts";
import { nodeIdSchema } from "../../shared/records.ts";
import { commandLine } from "./command.ts";
import { CliError } from "./cli-error.ts";
import { type OpenedKey } from "./keys.ts";
import { readIfThere, writeDurably } from "./durable-file.ts";

const nodeFileSchema = z.object({
  id: nodeIdSchema,
  folder: folderIdSchema,
  /** How often the node was started: each start begins a new range of incarnations. */
  incarnation: z.int(),
  /** Set after the first start: from then on the registers must be there. */
  started: z.boolean(),
  /** What a node that genesis does not name advertises, unless its flags say otherwise. */
  url: z.optional(z.string()),
  peerAddress: z.optional(z.string()),
  zone: z.optional(z.string()),
});
export type NodeFile = z.infer<typeof nodeFileSchema>;

const devKeySchema = z.object({ accessKeyId: z.string(), secretAccessKey: z.string() });

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

export async function writeGenesis(folder: string, genesis: Genesis): Promise<void> {
  const text = JSON.stringify(genesis);
  const file = { sha256: sha256(text), genesis };
  await writeDurably(join(folder, "genesis.json"), `${JSON.stringify(file, undefined, 2)}\n`);
}

export async function readGenesis(folder: string): Promise<Genesis> {
  const path = join(folder, "genesis.json");
  const damaged = (why: string): CliError =>
    new CliError(
      `Cannot read ${path}: ${why}. Copy genesis.json from the data folder of another node: it is the same everywhere.`,
    );
  const text = await readIfThere(path);
  if (text === undefined) {
    throw new CliError(
      `Cannot find ${path}: give --data the folder of a node, or make a cluster with "${commandLine("init")}"`,
    );
  }
  const file = parseJson(text);
  if (typeof file !== "object" || file === null) throw damaged("it is not JSON");
  const { genesis, sha256: sum } = file as { genesis?: unknown; sha256?: unknown };
  const parsed = genesisSchema.safeParse(genesis);
  if (!parsed.success) throw damaged("its content is damaged");
  if (sha256(JSON.stringify(genesis)) !== sum) throw damaged("its checksum does not match");
  return parsed.data;
}

export async function writeSecret(folder: string, secret: Uint8Array): Promise<void> {
  await writeDurably(
    join(folder, "cluster.secret"),
    `${Buffer.from(secret).toString("hex")}\n`,
    0o600,
  );
}

export async function readSecret(folder: string): Promise<Uint8Array> {
  const path = join(folder, "cluster.secret");
  const text = (await readIfThere(path))?.trim();
  if (text === undefined)
    throw new CliError(
      `Cannot read ${path}: it does not exist. Copy it from the data folder of another node, or give as --data the folder of a cluster.`,
    );
  if (!/^[0-9a-f]{64}$/u.test(text)) {
    throw new CliError(
      `Cannot read ${path}: it must hold 64 hex digits. Copy it from the data folder of another node.`,
    );
  }
  return new Uint8Array(Buffer.from(text, "hex"));
}

/** The key of `ringstow dev`; undefined before its first start. */
export async function readDevKey(folder: string): Promise<OpenedKey | undefined> {
  const path = join(folder, "credentials.json");
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  const parsed = devKeySchema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new CliError(
    `Cannot read ${path}: it must be {"accessKeyId", "secretAccessKey"}. Remove it, and a new key is made.`,
  );
}

export async function writeDevKey(folder: string, key: OpenedKey): Promise<void> {
  const text = `${JSON.stringify(key, undefined, 2)}\n`;
  await writeDurably(join(folder, "credentials.json"), text, 0o600);
}

export async function writeNodeFile(folder: string, file: NodeFile): Promise<void> {
  await writeDurably(join(folder, "node.json"), `${JSON.stringify(file, undefined, 2)}\n`);
}

/**
 * Base URLs to begin with when a folder's cluster is to be asked something: its own node's, if it is a node's, and those
 * of genesis, which may have left since.
 */
export async function readNodeUrls(folder: string): Promise<string[]> {
  const genesis = await readGenesis(folder);
  const own = (await hasNodeFile(folder)) ? (await readNodeFile(folder)).url : undefined;
  const urls = genesis.nodes.map(({ url }) => url);
  return own === undefined ? urls : [own, ...urls];
}

/** Whether a data folder is a node's. */
export async function hasNodeFile(folder: string): Promise<boolean> {
  return (await readIfThere(join(folder, "node.json"))) !== undefined;
}

export async function readNodeFile(folder: string): Promise<NodeFile> {
  const path = join(folder, "node.json");
  const text = await readIfThere(path);
  if (text === undefined) {
    throw new CliError(
      `Cannot find ${path}: "${commandLine("init")}" makes data folders, "${commandLine("node --join")}" joins a cluster`,
    );
  }
  const parsed = nodeFileSchema.safeParse(parseJson(text));
  if (!parsed.success) {
    throw new CliError(
      `Cannot read ${path}: its content is damaged. Restore it from a backup of this very folder.`,
    );
  }
  return parsed.data;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
