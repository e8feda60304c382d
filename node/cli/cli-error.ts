// An error that the user can mend: printed as it is, without a stack, and the command exits with 1.
import { RingstowError } from "../../shared/errors.ts";

export class CliError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CliError";
  }
}

/** For catch(): an expected failure becomes one that says what to do; a fault stays what it is. */
export function advise(advice: string): (error: unknown) => never {
  return (error) => {
    throw error instanceof RingstowError ? new CliError(`${error.message}. ${advice}`) : error;
  };
}

/** What to tell a person about any error. Only faults of ours have a stack. */
export function explain(error: unknown): string {
  if (error instanceof CliError || error instanceof RingstowError) return error.message;
  if (!(error instanceof Error)) return String(error);
  const { path, syscall } = error as NodeJS.ErrnoException;
  if (path !== undefined && syscall !== undefined) {
    return `Cannot use ${path}: ${error.message}. Check the path, its owner and the free space.`;
  }
  return error.stack ?? error.message;
}
