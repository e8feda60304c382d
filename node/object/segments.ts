// The pieces of storage that make up some bytes of an object, in order: inline bytes or spans of blocks. The parts of
// a multipart object stand in registers of their own, which are read a few ahead of need.
import { RingstowError } from "../../shared/errors.ts";
import { type UploadId } from "../../shared/ids.ts";
import { partReadsAheadMax } from "../../shared/limits.ts";
import { type BlockRef, type BodyRef, type Entry, type PartRef } from "../../shared/records.ts";
import { type RegisterAddress, type RegisterRead } from "../index/types.ts";
import { partAddress } from "./addresses.ts";
import { type Context } from "./context.ts";

/** Bytes from..to (exclusive) of `block`, or `bytes` as they are. */
export type Segment =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | {
      readonly kind: "block";
      readonly block: BlockRef;
      readonly from: number;
      readonly to: number;
      /** The register that names the block. */
      readonly owner: RegisterAddress;
    };

interface Bytes {
  readonly from: number;
  readonly to: number;
}

/** Segments of bytes from..to of an entry; `inline` is the body beside its register. Throws Corrupt. */
export async function* segmentsOf(
  context: Context,
  at: RegisterAddress,
  entry: Entry,
  span: Bytes,
  inline: Uint8Array | undefined,
): AsyncGenerator<Segment, void, void> {
  if (entry.body.kind === "parts") {
    yield* partSegments(context, at, entry.body.uploadId, entry.body.parts, span);
  } else {
    yield* bodySegments(at, entry.body, entry.size, span, inline);
  }
}

/** Bytes of a body that lies beside its register. Throws Corrupt. */
export function inlineBytes(
  size: number,
  { from, to }: Bytes,
  inline: Uint8Array | undefined,
): Uint8Array {
  if (inline?.length !== size) throw corrupt("the inline body is missing or has another length");
  return inline.subarray(from, to);
}

function* bodySegments(
  owner: RegisterAddress,
  body: BodyRef,
  size: number,
  { from, to }: Bytes,
  inline: Uint8Array | undefined,
): Generator<Segment, void, void> {
  if (body.kind === "inline") {
    const bytes = inlineBytes(size, { from, to }, inline);
    if (bytes.length > 0) yield { kind: "bytes", bytes };
    return;
  }
  if (body.kind === "parts") throw corrupt("a part cannot consist of parts");
  let start = 0;
  for (const block of body.blocks) {
    const end = start + block.size;
    if (end > from && start < to) {
      yield {
        kind: "block",
        block,
        from: Math.max(from, start) - start,
        to: Math.min(to, end) - start,
        owner,
      };
    }
    start = end;
  }
}

async function* partSegments(
  context: Context,
  object: RegisterAddress,
  uploadId: UploadId,
  parts: readonly PartRef[],
  span: Bytes,
): AsyncGenerator<Segment, void, void> {
  const wanted = overlapping(parts, span);
  const ahead: { address: RegisterAddress; reading: Promise<RegisterRead> }[] = [];
  let asked = 0;
  for (const { part, from, to } of wanted) {
    while (asked < wanted.length && ahead.length < partReadsAheadMax) {
      const { partNumber, attempt } = wanted[asked]!.part;
      const address = partAddress(object, uploadId, partNumber, attempt);
      const reading = context.index.read(address, { body: true });
      reading.catch(() => undefined); // told when its turn comes; a reader that stops earlier need not know
      ahead.push({ address, reading });
      asked += 1;
    }
    const { address, reading } = ahead.shift()!;
    const { value, body } = await reading;
    if (value?.kind !== "part" || value.part.size !== part.size || value.part.etag !== part.etag) {
      throw corrupt(`part ${part.partNumber} is missing or is not the one committed`);
    }
    yield* bodySegments(address, value.part.body, part.size, { from, to }, body);
  }
}

function overlapping(parts: readonly PartRef[], span: Bytes): (Bytes & { part: PartRef })[] {
  const found: (Bytes & { part: PartRef })[] = [];
  let start = 0;
  for (const part of parts) {
    const end = start + part.size;
    if (end > span.from && start < span.to) {
      found.push({
        part,
        from: Math.max(span.from, start) - start,
        to: Math.min(span.to, end) - start,
      });
    }
    start = end;
  }
  return found;
}

function corrupt(reason: string): RingstowError {
  return new RingstowError("Corrupt", `Cannot read the object: ${reason}`);
}
