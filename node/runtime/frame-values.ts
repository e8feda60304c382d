// Plain data to bytes and back, the same for the peer link and its memory twin: msgpack without records (a frame is
// readable alone), undefined members dropped, byte arrays copied out of the frame so that no value keeps it alive.
import { Packr } from "msgpackr";
import { isErrorCode, RingstowError } from "../../shared/errors.ts";
import { frameBytesMax } from "../../shared/limits.ts";

/** Bytes of the buffer that small messages are packed into, one after another. */
const packBufferBytes = 64 * 1024;

const options = { useRecords: false, skipValues: [undefined], copyBuffers: true };
const packr = new Packr(options);
packr.useBuffer(Buffer.allocUnsafeSlow(packBufferBytes));

/** A plain view of a shared buffer, never written again. Throws TypeError for what is not plain data. */
export function packValue(value: unknown): Uint8Array {
  const bytes = packr.pack(value);
  // The packer would keep the size of its largest message for all buffers to come.
  if (bytes.length > packBufferBytes) packr.useBuffer(Buffer.allocUnsafeSlow(packBufferBytes));
  return bytes;
}

/** As packValue; throws EntityTooLarge for what does not fit into one frame. `name` is for the message. */
export function packBounded(name: string, value: unknown): Uint8Array {
  const bytes = packValue(value);
  if (bytes.length <= frameBytesMax) return bytes;
  const text = `Cannot send "${name}": ${bytes.length} bytes are more than a frame may have`;
  throw new RingstowError("EntityTooLarge", text);
}

/** Throws when the bytes are not one whole value. `source` is no Buffer: byte arrays inside take its type. */
export function unpackValue(source: Uint8Array, start = 0, end = source.length): unknown {
  return packr.unpack(source, { start, end });
}

/** The same bytes, not as a Buffer. */
export function plainView(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Whether a handler's failure is one it meant; all else is a fault that should be logged. */
export function isExpected(error: unknown): error is RingstowError {
  return error instanceof RingstowError;
}

/** A handler's failure as plain data: {code, message, details}. */
export function describeFailure(error: unknown): unknown {
  if (isExpected(error))
    return { code: error.code, message: error.message, details: error.details };
  return { code: "Internal", message: messageOf(error), details: {} };
}

/** The error that `describeFailure` described; a code of a newer version becomes Internal. */
export function failureFrom(description: unknown): RingstowError {
  if (typeof description !== "object" || description === null)
    return new RingstowError("Internal", "Cannot read the peer's failure: not an object");
  const { code, message, details } = description as Record<string, unknown>;
  const text = typeof message === "string" ? message : undefined;
  if (typeof code !== "string" || !isErrorCode(code))
    return new RingstowError("Internal", `Unknown failure "${String(code)}": ${text ?? ""}`);
  const known: Record<string, string> = {};
  if (typeof details === "object" && details !== null) {
    for (const [name, value] of Object.entries(details)) known[name] = String(value);
  }
  return new RingstowError(code, text, known);
}

/** What an unknown thrown thing says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
