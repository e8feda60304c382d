// What the file system adapters share: folders whose existence survives a power loss (a new name is durable only when
// the folder that holds it is synced), and questions whose usual answer is "there is none".
import { mkdir, open, stat, statfs, unlink } from "node:fs/promises";
import { dirname } from "node:path";

/** Makes the names in a folder durable (fsync of the folder). */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a folder with all that leads to it, durably. Does nothing to one that exists. */
export async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true });
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made)) {
    await syncFolder(dirname(made));
  }
}

/** The errno of a failed system call, such as "ENOENT"; undefined for any other error. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** Removes a file; false when there was none. Not yet durable. */
export async function removeFile(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
}

/** Bytes of a file, how many names it has, and what tells it from others; undefined when there is none. */
export async function usedBy(
  path: string,
): Promise<{ bytes: number; names: number; inode: bigint } | undefined> {
  try {
    const { size, nlink, ino } = await stat(path, { bigint: true });
    return { bytes: Number(size), names: Number(nlink), inode: ino };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Bytes of the file system that holds a path; free ones as an ordinary user may take them. */
export async function spaceOf(path: string): Promise<{ freeBytes: number; totalBytes: number }> {
  const { bavail, blocks, bsize } = await statfs(path);
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}
