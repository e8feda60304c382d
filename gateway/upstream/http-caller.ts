// The carrier between a gateway and a node: fetch at the edge, undici on Node.
import { type ByteStream } from "../../shared/object-service.ts";

export interface HttpCall {
  readonly method: "GET" | "POST";
  /** Base URL of the node, without a trailing slash. */
  readonly origin: string;
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | StreamedBody | undefined;
  /** Until the reply's head, counted from the last byte sent. */
  readonly headTimeoutMs: number;
}

export interface StreamedBody {
  readonly stream: ByteStream;
  /** Bytes, when they are known before. */
  readonly length: number | undefined;
}

export interface HttpReply {
  readonly status: number;
  header(name: string): string | undefined;
  /**
   * The reply's bytes, to be read once or stopped by return(): the connection is held until then. Throws
   * HttpCallError when the reply breaks; never ends short in silence when the node declared a length.
   */
  readonly body: ByteStream;
}

/** "connect": nothing was sent. "timeout", "broken": the node may or may not have done the work. */
export type HttpFailure = "connect" | "timeout" | "broken";

export class HttpCallError extends Error {
  readonly failure: HttpFailure;
  constructor(failure: HttpFailure, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "HttpCallError";
    this.failure = failure;
  }
}

export interface HttpCaller {
  /** Throws HttpCallError; or what the body's iterator threw, when that was the cause. */
  call(call: HttpCall): Promise<HttpReply>;
  /** Breaks what is under way. */
  close(): Promise<void>;
}
