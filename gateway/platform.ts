// What the gateway needs from the runtime it runs on (Node, Workers, Deno, Bun) and from the nodes behind it.
// Everything else in gateway/ uses Web-standard APIs only.
import { type Context } from "hono";
import { type LogicalId, type RequestId } from "../shared/ids.ts";
import { type Position } from "../shared/nearest.ts";
import { type NodeService } from "../shared/object-protocol.ts";
import { type ByteStream } from "../shared/object-service.ts";

/** The small port between the gateway and its runtime. `serve.ts` fulfils it on Node. */
export interface Platform {
  /** Address of the client as far as it can be trusted. */
  clientIp(c: Context): string | undefined;
  /** Where the client is, when the runtime knows. */
  position(c: Context): Position | undefined;
  /**
   * Path and query exactly as the client sent them, before any URL normalisation: what the client signed.
   * Bytes above 0x7f come as one character each (Latin-1), as Node's `request.url` has them.
   */
  rawTarget(c: Context): string;
  /** Header lines as they came, name and value by turns, where the runtime has them: repeated headers are signed without spaces. */
  rawHeaders?(c: Context): readonly string[] | undefined;
  /** The request's bytes, not decoded; nothing when it has no body. Asked for at most once a request. */
  requestBody(c: Context): ByteStream;
  /** Milliseconds since 1970. */
  wallMs(): number;
  /** Random, 32 hex digits. */
  randomId(): RequestId;
  /**
   * A response body of exactly `length` bytes. When the stream throws, the connection must break: a client never
   * sees a short body as success.
   */
  toResponseBody(stream: ByteStream, length: number): BodyInit;
  /** Told of faults that the client only sees as InternalError. The default writes them to the console. */
  reportFault?(error: unknown, requestId: string): void;
}

/** Who asks, for choosing the nearest node. */
export interface UpstreamClient {
  readonly ip: string | undefined;
  readonly position: Position | undefined;
  /** Where on the ring the request's key lies: a hint. */
  readonly point?: LogicalId | undefined;
}

/** The nodes. `upstream/` fulfils it: nearest node first, then the next. */
export interface Upstream {
  service(client: UpstreamClient): NodeService;
}
