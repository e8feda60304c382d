// The Log port: one JSON line an event on stderr.
import { type Log } from "../ports.ts";

export type LogLevel = "info" | "warn" | "error" | "silent";

const RANK: Record<LogLevel, number> = { info: 0, warn: 1, error: 2, silent: 3 };

/** Writes events of `level` and above; `fields` stand in every line. */
export function jsonLog(level: LogLevel, fields: Readonly<Record<string, unknown>> = {}): Log {
  const at =
    (rank: LogLevel): Log["info"] =>
    (event, more) => {
      if (RANK[rank] < RANK[level]) return;
      const line = { time: new Date().toISOString(), level: rank, event, ...fields, ...more };
      process.stderr.write(`${JSON.stringify(line)}\n`);
    };
  return { info: at("info"), warn: at("warn"), error: at("error") };
}

export const silentLog: Log = jsonLog("silent");
