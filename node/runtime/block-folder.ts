// The folder that block files lie in: its sub-folders, and what is counted at its opening.
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { makeFolder, removeFile, syncFolder, usedBy } from "./durable-folder.ts";

/** Ends the name of a block file whose bytes were written for another block (a hard link). */
export const LINK_ENDING = ".link";

/**
 * Makes the folder and its sub-folders where they are missing, removes temporary files that an earlier process left,
 * and counts the blocks with the bytes they take: those that several names share once.
 */
export async function openBlockFolder(folder: string): Promise<{ bytes: number; blocks: number }> {
  await makeFolder(folder);
  const names = new Set(await readdir(folder));
  // All at once, so that one sync makes them durable and no block waits for its folder.
  for (const name of ["tmp", ...fanOut()]) {
    if (!names.has(name)) await mkdir(join(folder, name));
  }
  await syncFolder(folder);
  for (const name of await readdir(join(folder, "tmp"))) {
    await removeFile(join(folder, "tmp", name));
  }
  return countBlocks(folder);
}

/** Names that are none of a block do not count. */
async function countBlocks(folder: string): Promise<{ bytes: number; blocks: number }> {
  let bytes = 0;
  let blocks = 0;
  const shared = new Set<bigint>();
  for (const subFolder of fanOut()) {
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

function fanOut(): string[] {
  return Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"));
}
