// Bodies that tell who wrote them: unique, and checked byte for byte when they come back.
import { createHash } from "node:crypto";
import { type ByteStream } from "../../shared/object-service.ts";

const encoder = new TextEncoder();

export interface MadeBody {
  readonly bytes: Uint8Array;
  /** Hex MD5: what the store names the value by. */
  readonly etag: string;
}

/** Text that starts with `title` and repeats to `size` bytes, at least the title. */
export function makeBody(title: string, size: number): MadeBody {
  const head = encoder.encode(`${title};`);
  const bytes = new Uint8Array(Math.max(size, head.length));
  for (let i = 0; i < bytes.length; i++) bytes[i] = head[i % head.length]!;
  return { bytes, etag: etagOf(bytes) };
}

export function etagOf(bytes: Uint8Array): string {
  return createHash("md5").update(bytes).digest("hex");
}

/** The bytes in `pieces` chunks, as a socket might bring them. */
export async function* streamOf(bytes: Uint8Array, pieces = 1): ByteStream {
  const step = Math.max(1, Math.ceil(bytes.length / pieces));
  for (let i = 0; i < bytes.length; i += step) yield bytes.slice(i, i + step);
}

export async function readAll(body: ByteStream): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    size += chunk.length;
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
