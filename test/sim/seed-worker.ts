// A process that runs the seeds that run-seeds.ts sends it, one after the other.
import { runSeed, type SeedTask } from "./seed-result.ts";

process.on("message", (task: SeedTask) => {
  runSeed(task).then(
    (result) => process.send!(result),
    (error: unknown) => {
      console.error(`Cannot run seed ${task.seed}: ${String(error)}`);
      process.exit(1);
    },
  );
});
process.on("disconnect", () => process.exit(0));
