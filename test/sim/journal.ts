// What a long run has found so far, in a file: a run that was ended early goes on where it was.
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readdirSync, readFileSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { type SeedResult } from "./seed-result.ts";

const ROOT = join(import.meta.dirname, "../..");

/** Lines of JSON: what is run, on which code; then a result a seed, in the order in which they came. */
export class Journal {
  /** Of earlier runs. */
  readonly results: readonly SeedResult[];
  readonly #file: string;

  /**
   * @param run what tells the run from others, such as its flags
   * @throws Error when the file is of another run, or of other code
   */
  constructor(file: string, run: string) {
    this.#file = file;
    const begun = { run, code: codeDigest() };
    const lines = wholeLines(file);
    if (lines.length === 0) this.#write(begun);
    else if (lines[0] !== JSON.stringify(begun))
      throw new Error(
        `Cannot go on with ${file}: it is of another run or of other code: ${lines[0]}`,
      );
    this.results = lines.slice(1).map((line) => JSON.parse(line) as SeedResult);
  }

  add(result: SeedResult): void {
    this.#write(result);
  }

  #write(line: unknown): void {
    appendFileSync(this.#file, `${JSON.stringify(line)}\n`);
  }
}

/** The file's lines without a last one that was cut off, which goes from the file too. */
function wholeLines(file: string): string[] {
  if (!existsSync(file)) return [];
  const bytes = readFileSync(file);
  const end = bytes.lastIndexOf("\n") + 1;
  truncateSync(file, end);
  return bytes.toString("utf8", 0, end).split("\n").slice(0, -1);
}

/** Of all code that a seed runs. */
function codeDigest(): string {
  const files = ["node", "shared", "test/sim"].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => join(folder, name)),
  );
  const hash = createHash("sha256");
  for (const file of [...files.toSorted(), "package-lock.json"])
    hash.update(`${file}\n`).update(readFileSync(join(ROOT, file)));
  return hash.digest("hex");
}
