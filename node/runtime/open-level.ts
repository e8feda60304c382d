// Opens a LevelDB folder, and says in plain words why it cannot.
import { readdir } from "node:fs/promises";
import { ClassicLevel } from "classic-level";
import { RingstowError } from "../../shared/errors.ts";
import { errnoOf, makeFolder } from "./durable-folder.ts";

const MiB = 1024 * 1024;
const cacheBytes = 8 * MiB; // a node process is meant to stay small; the page cache of the host does the rest
// Two of them may be in memory at a time. A row that is written again while it is still there costs no compaction.
const writeBufferBytes = 8 * MiB;
const filesOpenMax = 200; // of about 2 MiB each

/** Throws RingstowError: Unavailable when the folder is in use or cannot be written, Corrupt when it is damaged. */
export async function openLevel(folder: string): Promise<ClassicLevel<string, Uint8Array>> {
  const failed = (code: "Unavailable" | "Corrupt", reason: string): RingstowError =>
    new RingstowError(code, `Cannot open data folder "${folder}": ${reason}`);
  let names: string[];
  try {
    await makeFolder(folder);
    names = await readdir(folder);
  } catch (error) {
    throw failed("Unavailable", `it cannot be written (${errnoOf(error) ?? String(error)})`);
  }
  // LevelDB would start an empty store beside the old tables: a voter that forgets what it promised.
  if (!names.includes("CURRENT") && names.some((name) => /\.(?:ldb|sst|log)$/u.test(name))) {
    throw failed("Corrupt", 'the store is damaged: the file "CURRENT" is missing');
  }
  const level = new ClassicLevel<string, Uint8Array>(folder, {
    keyEncoding: "utf8",
    valueEncoding: "view",
    cacheSize: cacheBytes,
    writeBufferSize: writeBufferBytes,
    maxOpenFiles: filesOpenMax,
    // Every row would be packed at each level that it sinks through, and unpacked by every read of its 4 KiB block:
    // a tenth of what a small write costs. Bodies are mostly packed already.
    compression: false,
  });
  try {
    await level.open();
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const reason = cause instanceof Error ? cause.message : String(cause);
    switch (errnoOf(cause)) {
      case "LEVEL_LOCKED":
        throw /permission denied/iu.test(reason)
          ? failed("Unavailable", "it cannot be written (permission denied)")
          : failed("Unavailable", "another process uses it");
      case "LEVEL_CORRUPTION":
        throw failed("Corrupt", `the store is damaged (${reason})`);
      default:
        throw /does not exist|no such file|not an sstable|bad /iu.test(reason)
          ? failed("Corrupt", `the store is damaged (${reason})`)
          : failed("Unavailable", reason);
    }
  }
  return level;
}
