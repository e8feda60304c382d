// A second name for a file, where the file system gives one.
import { link } from "node:fs/promises";
import { errnoOf } from "./durable-folder.ts";

/** What link(2) answers where a hard link cannot be, or not one more: copying serves there. */
const REFUSED = new Set(["EPERM", "EMLINK", "EXDEV", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"]);

export type LinkOutcome = "linked" | "refused" | "missing";

/** Not yet durable. "missing": there is no file `from`. Throws what is neither, a taken name too. */
export async function hardLink(from: string, to: string): Promise<LinkOutcome> {
  try {
    await link(from, to);
    return "linked";
  } catch (error) {
    const errno = errnoOf(error) ?? "";
    if (REFUSED.has(errno)) return "refused";
    if (errno === "ENOENT") return "missing";
    throw error;
  }
}
