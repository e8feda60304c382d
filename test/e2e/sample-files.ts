// Files for transfers, and how to compare them: random content, so that nothing on the way can shorten it.
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";

export const MiB = 1024 * 1024;

/** Writes `bytes` random bytes to a file, a piece at a time; gives their SHA-256 in hex. */
export async function randomFile(file: string, bytes: number): Promise<string> {
  const hash = createHash("sha256");
  const handle = await open(file, "w");
  try {
    for (let left = bytes; left > 0;) {
      const piece = randomBytes(Math.min(left, 8 * MiB));
      hash.update(piece);
      await handle.write(piece);
      left -= piece.length;
    }
  } finally {
    await handle.close();
  }
  return hash.digest("hex");
}

export async function sha256Of(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file, { highWaterMark: MiB })) hash.update(chunk);
  return hash.digest("hex");
}

/** Writes a tree of `count` small files in 40 folders, sizes from 0 to 2 KiB. */
export function writeTree(folder: string, count: number): void {
  for (let i = 0; i < count; i++) {
    const file = join(folder, `d${i % 8}`, `e${i % 5}`, `${i} file.txt`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, randomBytes((i * 37) % 2048));
  }
}

/** Path below the folder -> SHA-256, of every file of a tree. */
export function readTree(folder: string): Map<string, string> {
  const tree = new Map<string, string>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    const digest = createHash("sha256").update(readFileSync(file)).digest("hex");
    tree.set(file.slice(folder.length + 1), digest);
  }
  return tree;
}

/** Writes files whose names need care in URLs, XML or shells, each with text that names it; gives the names. */
export function writeCarefulNames(folder: string): readonly string[] {
  mkdirSync(folder, { recursive: true });
  const names = "a b+c.txt|ünï-cødé|日本語|😀|per%cent%20|q?&=#;|(x)!*'$,@|007".split("|");
  for (const name of names) writeFileSync(join(folder, name), `I am ${name}`);
  return names;
}
