// Plain data to bytes and back, the same for the peer link and its memory twin: msgpack without records (a frame is
// readable alone), undefined members dropped, byte arrays copied out of the frame so that no value keeps it alive.
import { Packr } from "msgpackr";
import { isErrorCode, RingstowError } from "../../shared/errors.ts";

/** Bytes of the buffer that small messages are packed into, one after another. */
const packBufferBytes = 64 * 1024;

const options = { useRecords: false, skipValues: [undefined], copyBuffers: true };
const packr = new Packr(options);
packr.useBuffer(Buffer.allocUnsafeSlow(packBufferBytes));

/** A view of a shared buffer that is never written again. Throws TypeError for what is not plain data. */
export function packValue(value: unknown): Uint8Array {
  const bytes = packr.pack(value);
  // The packer would keep the size of its largest message for all buffers to come.
  if (bytes.length > packBufferBytes) packr.useBuffer(Buffer.allocUnsafeSlow(packBufferBytes));
  return bytes;
}

/** Throws when the bytes are not one whole value. */
export function unpackValue(bytes: Uint8Array): unknown {
  // A plain view, not a Buffer: byte arrays inside the value take its type.
  return packr.unpack(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) as Buffer);
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
