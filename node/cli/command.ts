// How a person calls this program from a clone of the repository: for texts that tell what to type next.

/** @param line a command of `ringstow` with its flags */
export const commandLine = (line: string): string => `npm run ringstow -- ${line}`;
