// The Log port: one JSON line an event on stderr, {...fields, time, level, event}.
import { type Log } from "../ports.ts";

export type LogLevel = "info" | "warn" | "error" | "silent";

const RANK: Readonly<Record<LogLevel, number>> = { info: 0, warn: 1, error: 2, silent: 3 };

/** JSON has no form for some values that a log line may carry. */
function plain(_key: string, value: unknown): unknown {
  if (value instanceof Error) {
    const { name, message, stack } = value;
    return { name, message, ...("code" in value ? { code: value.code } : {}), stack };
  }
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return `${value.byteLength} bytes`;
  return value;
}

function lineOf(level: LogLevel, event: string, fields: Readonly<Record<string, unknown>>): string {
  const head = { time: new Date().toISOString(), level, event };
  try {
    return JSON.stringify({ ...head, ...fields, ...head }, plain);
  } catch (error) {
    // A cycle in a field must neither take the node down nor hide the event.
    return JSON.stringify({ ...head, fieldsLost: String(error) });
  }
}

/**
 * Writes events of `level` and above.
 * @param fields stand in every line, such as the node's id
 * @param write takes a line, its line feed included
 */
export function jsonLog(
  level: LogLevel,
  fields: Readonly<Record<string, unknown>> = {},
  write: (line: string) => void = (line) => {
    process.stderr.write(line);
  },
): Log {
  const at =
    (rank: LogLevel): Log["info"] =>
    (event, more) => {
      if (RANK[rank] >= RANK[level]) write(`${lineOf(rank, event, { ...fields, ...more })}\n`);
    };
  return { info: at("info"), warn: at("warn"), error: at("error") };
}

/** Drops everything. */
export const silentLog: Log = jsonLog("silent");
