// The Range header (RFC 9110 section 14.2). Several ranges or a malformed one are ignored: the whole object answers.
import { type RangeRequest } from "../../shared/object-service.ts";

const RANGE = /^\s*bytes\s*=\s*(?:(\d+)\s*-\s*(\d+)?|-\s*(\d+))\s*$/iu;

/** Both ends inclusive, as in the header. undefined: the whole object. */
export function parseRange(header: string | null): RangeRequest | undefined {
  const match = header === null ? null : RANGE.exec(header);
  if (!match) return undefined;
  const [, first, last, suffix] = match;
  if (suffix !== undefined) return { suffix: bounded(suffix) };
  const from = bounded(first!);
  if (last === undefined) return { from, to: undefined };
  const to = bounded(last);
  return to < from ? undefined : { from, to };
}

/** Numbers beyond what a double counts exactly lie behind the end of every object. */
function bounded(digits: string): number {
  return Math.min(Number(digits), Number.MAX_SAFE_INTEGER);
}
