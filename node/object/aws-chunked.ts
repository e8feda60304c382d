// Decodes bodies in aws-chunked form, as the AWS SDKs send them: signed and unsigned chunks, with and without
// trailers. A byte is handed on as it arrives, whatever the sizes of the network's chunks. Framing is verified in
// full: damage throws MalformedBody (in the trailer MalformedTrailer), an early end IncompleteBody, so a cut body never
// looks complete. Signatures and trailers are parsed and handed out; chunk-verifier.ts and body-reader.ts check them. Source: "Signature calculations for the
// authorization header: transferring payload in multiple chunks" (S3 API reference).
import { giveChunk } from "../../shared/chunk-memory.ts";
import { RingstowError } from "../../shared/errors.ts";
import { chunkHeaderBytesMax, chunkTrailersMax, objectBytesMax } from "../../shared/limits.ts";
import { type ByteStream } from "../../shared/object-service.ts";

/** What a body says besides its bytes. A listener that throws ends the decoding with its error. */
export interface ChunkListener {
  /** A chunk begins; the last one has size 0. `signature` is undefined in the unsigned form. */
  chunk?(size: number, signature: string | undefined): void;
  /** Bytes of the chunk that began last, before they are handed on. */
  data?(bytes: Uint8Array): void;
  /** Trailers, names in lower case, once, after the last byte; empty when there are none. */
  trailers?(trailers: ReadonlyMap<string, string>): void;
}

type DamageCode = "MalformedBody" | "MalformedTrailer";
type State = "header" | "data" | "dataEnd" | "trailer" | "ended";

const LF = 10;
const CR = 13;
const decoder = new TextDecoder("utf-8", { fatal: true });

/** The decoded bytes. Chunks are views of the source's chunks, valid until the next is asked for. Throws MalformedBody, MalformedTrailer or IncompleteBody. */
export async function* decodeAwsChunked(
  source: ByteStream,
  listener: ChunkListener = {},
): AsyncGenerator<Uint8Array, void, void> {
  const framing = new Framing(listener);
  for await (const chunk of source) {
    let at = 0;
    while (at < chunk.length) {
      const inData = framing.dataLeft;
      if (inData > 0) {
        const data = chunk.subarray(at, Math.min(chunk.length, at + inData));
        framing.tookData(data.length);
        at += data.length;
        listener.data?.(data);
        yield data;
      } else {
        framing.takeByte(chunk[at]!);
        at += 1;
      }
    }
    giveChunk(chunk);
  }
  framing.end();
}

/** Where in the framing the next byte stands. */
class Framing {
  readonly #listener: ChunkListener;
  #state: State = "header";
  #line: number[] = [];
  #dataLeft = 0;
  readonly #trailers = new Map<string, string>();

  constructor(listener: ChunkListener) {
    this.#listener = listener;
  }

  /** Bytes of data that come next; 0 when framing comes next. */
  get dataLeft(): number {
    return this.#dataLeft;
  }

  tookData(count: number): void {
    this.#dataLeft -= count;
    if (this.#dataLeft === 0) this.#state = "dataEnd";
  }

  takeByte(byte: number): void {
    if (byte !== LF) {
      if (this.#line.length >= chunkHeaderBytesMax) throw malformed("a line is too long");
      this.#line.push(byte);
      return;
    }
    if (this.#line.at(-1) === CR) this.#line.pop();
    const line = this.#line;
    this.#line = [];
    this.#takeLine(line);
  }

  end(): void {
    if (this.#state !== "ended" || this.#line.length > 0) {
      throw new RingstowError("IncompleteBody", "Cannot decode the body: it ends too early");
    }
    this.#listener.trailers?.(this.#trailers);
  }

  #takeLine(line: readonly number[]): void {
    switch (this.#state) {
      case "header":
        this.#takeHeader(textOf(line));
        return;
      case "dataEnd":
        if (line.length > 0) throw malformed("a chunk is longer than its header says");
        this.#state = "header";
        return;
      case "trailer":
      case "ended":
        // Some clients put an empty line between the checksum and its signature: more lines may follow one.
        if (line.length === 0) this.#state = "ended";
        else this.#takeTrailer(textOf(line, "MalformedTrailer"));
        return;
      case "data":
        throw new Error("Assertion failed: data is taken by tookData");
    }
  }

  #takeHeader(text: string): void {
    const [size, ...extensions] = text.split(";");
    if (!/^[0-9a-fA-F]{1,10}$/u.test(size!)) throw malformed("a chunk's size is no number");
    const bytes = Number.parseInt(size!, 16);
    if (bytes > objectBytesMax) throw malformed("a chunk is larger than any object");
    const signature = extensions
      .map((extension) => extension.trim())
      .find((extension) => extension.startsWith("chunk-signature="))
      ?.slice("chunk-signature=".length);
    this.#listener.chunk?.(bytes, signature);
    this.#dataLeft = bytes;
    this.#state = bytes === 0 ? "trailer" : "data";
  }

  #takeTrailer(text: string): void {
    const colon = text.indexOf(":");
    if (colon <= 0) throw malformed("a trailer has no name", "MalformedTrailer");
    if (this.#trailers.size >= chunkTrailersMax)
      throw malformed("there are too many trailers", "MalformedTrailer");
    const name = text.slice(0, colon).trim().toLowerCase();
    if (this.#trailers.has(name)) throw malformed("a trailer comes twice", "MalformedTrailer");
    this.#trailers.set(name, text.slice(colon + 1).trim());
    this.#state = "trailer";
  }
}

function textOf(line: readonly number[], code: DamageCode = "MalformedBody"): string {
  try {
    return decoder.decode(Uint8Array.from(line));
  } catch {
    throw malformed("a line is no text", code);
  }
}

function malformed(reason: string, code: DamageCode = "MalformedBody"): RingstowError {
  return new RingstowError(code, `Cannot decode the body: ${reason}`);
}
