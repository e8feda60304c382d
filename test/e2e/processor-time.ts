// What processes got of the processors, and for how long they were ready to run and had to wait for one: Linux counts both
// for each thread. On a machine with more processes than processors waiting is most of what a call takes.
import { readdirSync, readFileSync } from "node:fs";

export interface ProcessorTime {
  readonly ranMs: number;
  readonly waitedMs: number;
}

/** Of all threads of these processes since they began; undefined where the system does not tell. Threads that ended do not count. */
export function processorTime(pids: readonly number[]): ProcessorTime | undefined {
  let [ranNs, waitedNs] = [0, 0];
  try {
    for (const pid of pids) {
      for (const thread of readdirSync(`/proc/${pid}/task`)) {
        const [ran, waited] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(
          " ",
        );
        ranNs += Number(ran);
        waitedNs += Number(waited);
      }
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  return { ranMs: ranNs / 1e6, waitedMs: waitedNs / 1e6 };
}
