// S3 clients that users have on their machines, run as they would run them: by name from PATH, in an environment and
// a home folder of their own, so that neither this machine's settings nor its credentials leak in.
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { describe, test } from "vitest";

/** The file that `name` means on PATH. */
export function findProgram(name: string): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter(Boolean);
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * A suite that needs a program. Without it the suite is skipped and says so, but fails where
 * RINGSTOW_REQUIRE_CLIENTS=1 (as in CI), so that a missing client cannot pass for a working one.
 */
export function describeClient(name: string, body: () => void): void {
  if (findProgram(name) !== undefined) {
    describe(name, body);
  } else if (process.env["RINGSTOW_REQUIRE_CLIENTS"] === "1") {
    test(`${name} is on PATH`, () => {
      throw new Error(`Cannot test with "${name}": it is not on PATH`);
    });
  } else {
    test.skip(`${name} (not on PATH)`, () => undefined);
  }
}

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
}

/** A program with its own home below the temporary folder. */
export class ClientProgram {
  readonly home: string;
  readonly #file: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #running = new Set<ChildProcess>();

  constructor(name: string, env: Readonly<Record<string, string>> = {}) {
    const file = findProgram(name);
    if (file === undefined) throw new Error(`Cannot run "${name}": it is not on PATH`);
    this.#file = file;
    this.home = mkdtempSync(join(tmpdir(), `ringstow-${name}-`));
    mkdirSync(join(this.home, "tmp"));
    this.#env = {
      PATH: process.env["PATH"]!,
      HOME: this.home,
      TMPDIR: join(this.home, "tmp"),
      LANG: "C.UTF-8",
      ...env,
    };
  }

  /** A path in its home. */
  path(...parts: string[]): string {
    return join(this.home, ...parts);
  }

  /** Runs to the end and gives what came out, whatever the exit code. */
  try(args: readonly string[], input?: string | Uint8Array): Promise<Outcome> {
    const began = performance.now();
    return new Promise((resolve, reject) => {
      const child = spawn(this.#file, args, { cwd: this.home, env: this.#env });
      this.#running.add(child);
      child.once("exit", () => this.#running.delete(child));
      const out: Buffer[] = [];
      const err: Buffer[] = [];
      child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
      child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
      child.once("error", reject);
      child.once("close", (code) => {
        const seconds = (performance.now() - began) / 1000;
        const [stdout, stderr] = [out, err].map((chunks) => Buffer.concat(chunks).toString());
        resolve({ code, stdout: stdout!, stderr: stderr!, seconds });
      });
      // A client may end without reading its input.
      child.stdin.on("error", () => undefined);
      child.stdin.end(input);
    });
  }

  /** Runs to the end; rejects with what it printed unless it succeeded. */
  async run(args: readonly string[], input?: string | Uint8Array): Promise<Outcome> {
    const outcome = await this.try(args, input);
    if (outcome.code !== 0) {
      const said = `${outcome.stdout.slice(-2_000)}\n${outcome.stderr.slice(-2_000)}`.trim();
      throw new Error(`${this.#file} ${args.join(" ")} ended with ${outcome.code}:\n${said}`);
    }
    return outcome;
  }

  /** Ends what a failed test left running, and deletes the home. */
  remove(): void {
    for (const child of this.#running) child.kill("SIGKILL");
    rmSync(this.home, { recursive: true, force: true });
  }
}
