// Folders whose existence survives a power loss: a new name is durable only when the folder that holds it is synced.
import { mkdir, open } from "node:fs/promises";
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
