// A child process of `ringstow dev`: this same command with other arguments. It tells over its channel when it is
// ready, and ends by itself when the channel closes, so that nothing outlives a killed parent.
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { CliError } from "./cli-error.ts";

export interface Ready {
  readonly type: "ready";
}

export interface Child {
  readonly name: string;
  readonly process: ChildProcess;
  /** Resolves when the child answers; rejects with what it printed when it ended before. */
  readonly ready: Promise<void>;
  /** Resolves when the process is gone. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

const main = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "main.ts" : "main.js", import.meta.url),
);

export function startChild(name: string, args: readonly string[]): Child {
  const child = fork(main, args, { stdio: ["ignore", "inherit", "pipe", "ipc"] });
  let complaint = "";
  child.stderr!.on("data", (chunk: Buffer) => {
    process.stderr.write(chunk);
    if (complaint.length < 4_000) complaint += chunk.toString();
  });
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  const ready = new Promise<void>((resolve, reject) => {
    child.on("message", (message) => {
      if ((message as Ready).type === "ready") resolve();
    });
    void exited.then(({ code, signal }) => {
      reject(
        new CliError(`${name} ended (${signal ?? code}) before it was ready.\n${complaint.trim()}`),
      );
    });
  });
  // A child that dies later must not count as an unhandled rejection.
  ready.catch(() => undefined);
  return { name, process: child, ready, exited };
}

/** Called in the child: tells the parent, if there is one, that it answers. */
export function tellReady(): void {
  process.send?.({ type: "ready" } satisfies Ready);
}

/** Runs `stop` once at SIGINT, SIGTERM or when the parent is gone, then ends the process. */
export function stopOnSignals(stop: () => Promise<void>): void {
  let stopping = false;
  const end = (): void => {
    if (stopping) return;
    stopping = true;
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`Cannot stop cleanly: ${String(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.on("SIGINT", end);
  process.on("SIGTERM", end);
  process.on("disconnect", end);
}
