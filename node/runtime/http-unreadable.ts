// Answers what node:http cannot read as a request, or cannot read to its end, in the app's own words.
import { type Server, type ServerResponse, STATUS_CODES } from "node:http";
import { type Socket } from "node:net";

/** What is wrong with the bytes of a connection. */
export type Unreadable = "bodyCutOff" | "headersTooLarge" | "headersTooSlow" | "malformed";

export interface Refusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const UNREADABLE: Readonly<Record<string, Unreadable>> = {
  HPE_INVALID_EOF_STATE: "bodyCutOff",
  HPE_HEADER_OVERFLOW: "headersTooLarge",
  ERR_HTTP_REQUEST_TIMEOUT: "headersTooSlow",
};

/**
 * Sends `refuse`'s answer and closes the connection. Nothing is sent where an answer has begun already: its client
 * would take it for a part of that one.
 */
export function refuseUnreadable(
  server: Server,
  underWay: ReadonlySet<ServerResponse>,
  refuse: (what: Unreadable) => Refusal,
): void {
  server.on("clientError", (error: NodeJS.ErrnoException, stream) => {
    const socket = stream as Socket;
    const begun = [...underWay].some(
      (outgoing) => outgoing.socket === socket && outgoing.headersSent,
    );
    if (socket.writable && !begun && error.code !== "ECONNRESET") {
      const { status, headers, body } = refuse(UNREADABLE[error.code ?? ""] ?? "malformed");
      const all = {
        ...headers,
        "content-length": String(Buffer.byteLength(body)),
        connection: "close",
      };
      const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
      socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("")}\r\n${body}`);
    }
    socket.destroy(error);
  });
}
