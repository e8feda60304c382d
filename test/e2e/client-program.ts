// S3 clients that users have on their machines, run as they would run them: by name from PATH, in an environment and
// a home folder of their own, so that neither this machine's settings nor its credentials leak in.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { accessSync, constants, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { describe, test } from "vitest";

/** A client as a test wants it: a name on PATH, and how to tell the right one of several with that name. */
export interface Client {
  readonly label: string;
  readonly program: string;
  /** What it is asked, and what it must then print; the first on PATH that does is taken. */
  readonly probe?: { readonly args: readonly string[]; readonly prints: RegExp } | undefined;
  /** No package of the distribution has it: where it is missing it is reported as skipped, in CI too. */
  readonly optional?: boolean | undefined;
}

export const awsCli1: Client = {
  label: "aws version 1",
  program: "aws",
  probe: { args: ["--version"], prints: /^aws-cli\/1\./u },
  optional: true,
};
export const awsCli2: Client = {
  label: "aws version 2",
  program: "aws",
  probe: { args: ["--version"], prints: /^aws-cli\/2\./u },
};
export const boto3: Client = {
  label: "python3 with boto3",
  program: "python3",
  probe: { args: ["-c", "import boto3; print('boto3', boto3.__version__)"], prints: /^boto3 / },
};

const asClient = (client: string | Client): Client =>
  typeof client === "string" ? { label: client, program: client } : client;

/** The file on PATH that is this client. */
export function findProgram(client: string | Client): string | undefined {
  const { program, probe } = asClient(client);
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter(Boolean);
  const files = folders.map((folder) => join(folder, program)).filter(isExecutable);
  if (!probe) return files[0];
  return files.find((file) => {
    const { stdout, stderr } = spawnSync(file, probe.args, { encoding: "utf8" });
    return probe.prints.test(stdout || stderr || "");
  });
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
export function describeClient(client: string | Client, body: () => void): void {
  const { label, optional } = asClient(client);
  if (findProgram(client) !== undefined) {
    describe(label, body);
  } else if (process.env["RINGSTOW_REQUIRE_CLIENTS"] === "1" && !optional) {
    test(`${label} is on PATH`, () => {
      throw new Error(`Cannot test with "${label}": it is not on PATH`);
    });
  } else {
    test.skip(`${label} (not on PATH)`, () => undefined);
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

  constructor(client: string | Client, env: Readonly<Record<string, string>> = {}) {
    const { label, program } = asClient(client);
    const file = findProgram(client);
    if (file === undefined) throw new Error(`Cannot run "${label}": it is not on PATH`);
    this.#file = file;
    this.home = mkdtempSync(join(tmpdir(), `ringstow-${program}-`));
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
