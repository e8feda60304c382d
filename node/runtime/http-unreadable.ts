// Answers what node:http cannot read as a request, or cannot read to its end, in the app's own words, and ends
// connections that stand still.
import { type Server, type ServerResponse, STATUS_CODES } from "node:http";
import { type Socket } from "node:net";

/** What is wrong with the bytes of a connection. */
export type Unreadable = "bodyCutOff" | "headersTooLarge" | "tooSlow" | "malformed";

export interface Refusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const UNREADABLE: Readonly<Record<string, Unreadable>> = {
  HPE_INVALID_EOF_STATE: "bodyCutOff",
  HPE_HEADER_OVERFLOW: "headersTooLarge",
  ERR_HTTP_REQUEST_TIMEOUT: "tooSlow",
};

/**
 * Sends `refuse`'s answer (without `refuse`: none) and closes the connection. Nothing is sent where an answer has
 * begun already: its client would take it for a part of that one.
 */
export function refuseUnreadable(
  server: Server,
  underWay: ReadonlySet<ServerResponse>,
  refuse: ((what: Unreadable) => Refusal) | undefined,
): void {
  const end = (socket: Socket, what: Unreadable): void => {
    const begun = [...underWay].some(
      (outgoing) => outgoing.socket === socket && outgoing.headersSent,
    );
    if (socket.writable && !begun && refuse) socket.write(textOf(refuse(what)));
    socket.destroy();
  };
  // Neither side has sent or taken a byte for `server.timeout`; or a connection without a request is over its
  // keep-alive time, where an answer would be taken for that of the next request.
  server.on("timeout", (socket) => {
    if ([...underWay].some((outgoing) => outgoing.socket === socket)) end(socket, "tooSlow");
    else socket.destroy();
  });
  if (!refuse) return; // then node:http answers the rest itself
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    end(socket as Socket, UNREADABLE[error.code ?? ""] ?? "malformed");
  });
}

function textOf({ status, headers, body }: Refusal): string {
  const length = String(Buffer.byteLength(body));
  const all = { ...headers, "content-length": length, connection: "close" };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("")}\r\n${body}`;
}
