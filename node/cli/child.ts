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
  /** Passes on what it printed so far and prints. Before, all is kept back: why a start failed is told in one line. */
  showOutput(): void;
}

const main = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "main.ts" : "main.js", import.meta.url),
);

const complaintCharactersMax = 8_000;

// Six processes share this machine. While bodies pass through them their live heap stays near 30 MiB, but V8 lets the
// young generation grow to 48 MiB, and the C library gives every thread a heap that it hardly returns. Halving the one
// and sharing the other takes about 50 MiB off a process under 1 GiB of traffic (277 -> 220), without a cost in CPU that
// the bench of S3 calls could tell from noise.
const youngHeap = ["--max-semi-space-size=8"];
const mallocArenas = { MALLOC_ARENA_MAX: "2" };

export function startChild(name: string, args: readonly string[]): Child {
  const child = fork(main, args, {
    stdio: ["ignore", "inherit", "pipe", "ipc"],
    execArgv: [...process.execArgv, ...youngHeap],
    env: { ...mallocArenas, ...process.env },
  });
  let printed = "";
  let held = true;
  child.stderr!.on("data", (chunk: Buffer) => {
    if (!held) process.stderr.write(chunk);
    else if (printed.length < complaintCharactersMax) printed += chunk.toString();
  });
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  const ready = new Promise<void>((resolve, reject) => {
    child.on("message", (message) => {
      if ((message as Ready).type === "ready") resolve();
    });
    // Not "exit": by then its last words may still be in the pipe.
    child.once("close", (code, signal) => {
      const reason = /^ringstow: (.*)$/msu.exec(printed)?.[1] ?? printed;
      const ended = `it ended (${signal ?? `exit ${code}`}) without a word`;
      reject(new CliError(`Cannot start the ${name}: ${reason.trim() || ended}`));
    });
  });
  // A child that dies later must not count as an unhandled rejection.
  ready.catch(() => undefined);
  const showOutput = (): void => {
    held = false;
    process.stderr.write(printed);
  };
  return { name, process: child, ready, exited, showOutput };
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
