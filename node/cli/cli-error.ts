// An error that the user can mend: printed as it is, without a stack, and the command exits with 1.
export class CliError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CliError";
  }
}

/** What to tell a person about any error. */
export function explain(error: unknown): string {
  if (error instanceof CliError) return error.message;
  if (error instanceof Error) return error.stack ?? error.message;
  return String(error);
}
