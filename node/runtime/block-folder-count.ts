// Counts the blocks of a folder at its opening, and the bytes they take: those that several names share once.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { usedBy } from "./durable-folder.ts";

/** Ends the name of a block file whose bytes were written for another block (a hard link). */
export const LINK_ENDING = ".link";

/** Names in `folder/<sub-folder>` that are none of a block do not count. */
export async function countBlocks(
  folder: string,
  subFolders: readonly string[],
): Promise<{ bytes: number; blocks: number }> {
  let bytes = 0;
  let blocks = 0;
  const shared = new Set<bigint>();
  for (const subFolder of subFolders) {
    for (const name of await readdir(join(folder, subFolder))) {
      if (!/^[0-9a-f]{32}(?:\.link)?$/u.test(name)) continue;
      const used = await usedBy(join(folder, subFolder, name));
      if (!used) continue;
      blocks++;
      if (used.names > 1 && shared.has(used.inode)) continue;
      if (used.names > 1) shared.add(used.inode);
      bytes += used.bytes;
    }
  }
  return { bytes, blocks };
}
