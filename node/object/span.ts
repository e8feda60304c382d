// Which bytes of an object a GET sends: all, a range (RFC 9110 section 14), or one part of a multipart object.
import { RingstowError } from "../../shared/errors.ts";
import { type GetRequest, type RangeRequest } from "../../shared/object-service.ts";
import { type Entry } from "../../shared/records.ts";
import { holdsIfRange } from "./conditions.ts";

/** Bytes from..to (exclusive). `partial` asks for 206. */
export interface Span {
  readonly from: number;
  readonly to: number;
  readonly partial: boolean;
  /** Set when one part of a multipart object is sent. */
  readonly partsCount: number | undefined;
}

/** Throws InvalidRange when no byte of the object is asked for. */
export function resolveSpan(
  entry: Entry,
  request: Pick<GetRequest, "range" | "ifRange" | "partNumber">,
): Span {
  const { range, ifRange, partNumber } = request;
  const parts = entry.body.kind === "parts" ? entry.body.parts.length : undefined;
  const whole: Span = { from: 0, to: entry.size, partial: false, partsCount: parts };
  if (partNumber !== undefined) return partSpan(entry, partNumber, whole);
  if (!range || (ifRange !== undefined && !holdsIfRange(entry, ifRange))) return whole;
  // An end before its start is no range at all: it is ignored, as malformed ones are.
  if ("from" in range && range.to !== undefined && range.to < range.from) return whole;
  const from = "suffix" in range ? Math.max(0, entry.size - range.suffix) : range.from;
  const to = "suffix" in range || range.to === undefined ? entry.size : range.to + 1;
  const end = Math.min(to, entry.size);
  if (from >= end) throw invalidRange(entry, range);
  return { from, to: end, partial: true, partsCount: parts };
}

/** Parts are counted in the object's order, whatever numbers they were sent under. */
function partSpan(entry: Entry, partNumber: number, whole: Span): Span {
  const parts = entry.body.kind === "parts" ? entry.body.parts : undefined;
  const count = parts?.length ?? 1;
  if (partNumber < 1 || partNumber > count) {
    throw new RingstowError("InvalidRange", `Cannot send part ${partNumber}: there are ${count}`, {
      partNumber: String(partNumber),
      partsCount: String(count),
    });
  }
  if (!parts) return { ...whole, partial: entry.size > 0 };
  let from = 0;
  for (let i = 0; i < partNumber - 1; i++) from += parts[i]!.size;
  const to = from + parts[partNumber - 1]!.size;
  return { from, to, partial: to > from, partsCount: count };
}

function invalidRange(entry: Entry, range: RangeRequest): RingstowError {
  return new RingstowError("InvalidRange", undefined, {
    size: String(entry.size),
    range: "suffix" in range ? `-${range.suffix}` : `${range.from}-${range.to ?? ""}`,
  });
}
