// What a Ringstow server tells an app about one request beyond the Request itself (Hono's `c.env`). Absent on
// runtimes and in tests that call the app directly.
import { type ByteStream } from "./object-service.ts";

export interface ServerBindings {
  /**
   * The request's bytes from the socket, without web streams; a client that waits for "100 Continue" gets it at the
   * first read. Throws IncompleteBody when the client leaves before the end. return() leaves the connection open,
   * so that an answer can be sent.
   */
  readonly requestBody?: (() => ByteStream) | undefined;
  /**
   * Sends an answer with a body of exactly `content-length` bytes straight to the socket, and gives what the
   * handler must return. A body that throws breaks the connection; one that nobody wants any more is stopped.
   */
  readonly respond?:
    | ((status: number, headers: Readonly<Record<string, string>>, body: ByteStream) => Response)
    | undefined;
  /** A header of the request, its name in lower case: no Headers object is made for it. */
  readonly header?: ((name: string) => string | undefined) | undefined;
  /** Address of the socket's other end. */
  readonly remoteIp?: string | undefined;
  /** Path and query as the client sent them. */
  readonly rawTarget?: string | undefined;
  /** Header names and values by turns, as the client sent them. */
  readonly rawHeaders?: readonly string[] | undefined;
}
