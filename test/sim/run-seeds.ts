// Runs seeds in worker processes, as many at once as there are jobs. Which process runs a seed changes nothing.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { type Overrides } from "./plan.ts";
import { runSeed, type SeedResult, type SeedTask } from "./seed-result.ts";

/** Room for what a run throws away at once: a seventh less CPU. Errors without stacks: a twentieth; --jobs 1 has them. */
const WORKER_FLAGS = [
  "--min-semi-space-size=64",
  "--max-semi-space-size=64",
  "--stack-trace-limit=0",
];

export interface SeedsOptions {
  readonly overrides: Overrides;
  readonly jobs: number;
  readonly log: boolean;
  /** The seeds; asked for the next one until it ends. */
  readonly seeds: Iterator<number>;
  /** False: no more seeds are begun. Those under way are finished and told. */
  readonly onResult: (result: SeedResult) => boolean;
}

/** Resolves when all seeds have been told. Throws when a worker process dies. */
export async function runSeeds(options: SeedsOptions): Promise<void> {
  let stopped = false;
  const next = (): SeedTask | undefined => {
    const seed = stopped ? undefined : options.seeds.next();
    if (!seed || seed.done === true) return undefined;
    return { seed: seed.value, overrides: options.overrides, log: options.log };
  };
  const tell = (result: SeedResult): void => {
    if (!options.onResult(result)) stopped = true;
  };
  if (options.jobs === 1) {
    for (let task = next(); task; task = next()) tell(await runSeed(task));
    return;
  }
  await Promise.all(Array.from({ length: options.jobs }, () => runInWorker(next, tell)));
}

async function runInWorker(
  next: () => SeedTask | undefined,
  tell: (result: SeedResult) => void,
): Promise<void> {
  const worker = fork(join(import.meta.dirname, "seed-worker.ts"), { execArgv: WORKER_FLAGS });
  const exited = once(worker, "exit");
  try {
    for (let task = next(); task; task = next()) tell(await ask(worker, exited, task));
  } finally {
    if (worker.connected) worker.disconnect();
    await exited;
  }
}

async function ask(
  worker: ChildProcess,
  exited: Promise<unknown[]>,
  task: SeedTask,
): Promise<SeedResult> {
  const answered = once(worker, "message") as Promise<[SeedResult]>;
  worker.send(task);
  const died = exited.then(([code]) => {
    throw new Error(`Cannot go on with seed ${task.seed}: its process ended with ${String(code)}`);
  });
  const [result] = await Promise.race([answered, died]);
  return result;
}
