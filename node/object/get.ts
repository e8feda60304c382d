// GET and HEAD of an object: one linearizable read of its register, which brings a small body along; a large one is
// streamed from its blocks.
import { HeldBody } from "../../shared/body-stream.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type ByteStream, type GetRequest, type GetResult } from "../../shared/object-service.ts";
import { type Entry } from "../../shared/records.ts";
import { type RegisterAddress } from "../index/types.ts";
import { objectAddress } from "./addresses.ts";
import { evaluateRead } from "./conditions.ts";
import { type Context, withoutParts } from "./context.ts";
import { inlineBytes, segmentsOf } from "./segments.ts";
import { sendBody } from "./send-body.ts";
import { resolveSpan } from "./span.ts";

/** Throws NoSuchKey, PreconditionFailed, InvalidRange or Corrupt; the body throws when it cannot go on. */
export async function get(context: Context, request: GetRequest): Promise<GetResult> {
  const at = objectAddress(request.bucket, request.key, context.sliceBits);
  const { value, body: inline } = await context.index.read(at, { body: !request.headOnly });
  const entry = value?.kind === "object" ? value.chain.entries[0] : undefined;
  if (!entry) throw new RingstowError("NoSuchKey");
  if (evaluateRead(entry, request.conditions) === "notModified") {
    return { type: "notModified", entry: withoutParts(entry) };
  }
  const span = resolveSpan(entry, request);
  const body = request.headOnly ? NO_BYTES : bodyOf(context, at, entry, span, inline);
  return { type: "object", entry: withoutParts(entry), ...span, body };
}

const NO_BYTES = new HeldBody(new Uint8Array(0));

function bodyOf(
  context: Context,
  at: RegisterAddress,
  entry: Entry,
  span: { readonly from: number; readonly to: number },
  inline: Uint8Array | undefined,
): ByteStream {
  if (entry.body.kind === "inline") return new HeldBody(inlineBytes(entry.size, span, inline));
  return sendBody(context, segmentsOf(context, at, entry, span, inline), span.to - span.from);
}
