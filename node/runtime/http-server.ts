// A Hono app (or anything with fetch) on node:http. What @hono/node-server leaves open is done here: bodies go
// between iterables and the socket without web streams, "100 Continue" is sent at the first read of a body, a
// breaking body breaks the connection, and close() ends in bounded time.
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import { type AddressInfo, type Socket, isIPv6 } from "node:net";
import { RequestError, getRequestListener } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { isWhole, sourceOf } from "../../shared/body-stream.ts";
import { RingstowError } from "../../shared/errors.ts";
import {
  callHeaderBytesMax,
  closeGraceMs,
  connectionIdleMs,
  inlineBytesMax,
} from "../../shared/limits.ts";
import { type ServerBindings } from "../../shared/server-bindings.ts";
import { type Log } from "../ports.ts";
import { awaitContinue, bodyOf } from "./http-request-body.ts";
import { writeBody } from "./http-response-body.ts";
import { smallBodyOf } from "./http-small-body.ts";
import { type Refusal, type Unreadable, refuseUnreadable } from "./http-unreadable.ts";

export { type Refusal, type Unreadable } from "./http-unreadable.ts";

export interface HttpApp {
  fetch(request: Request, env: ServerBindings): Response | Promise<Response>;
}

export interface HttpServerOptions {
  readonly app: HttpApp;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** What to answer when a request is no HTTP or its body is cut off; else node:http's bare 400. */
  readonly refuse?: ((what: Unreadable) => Refusal) | undefined;
  /** How long a connection with a request under way may stand still; `connectionIdleMs` unless told. */
  readonly idleMs?: number | undefined;
  /** How long a connection may wait for its next request. Default 75 s. */
  readonly keepAliveMs?: number | undefined;
  readonly log?: Log | undefined;
}

export interface RunningHttpServer {
  /** Base URL without a trailing slash. */
  readonly url: string;
  /** Accepts nothing new, lets requests under way finish for `closeGraceMs`, then breaks them. */
  close(): Promise<void>;
}

// Longer than any client keeps an idle connection: a server that closes first races with the next request.
const KEEP_ALIVE_MS = 75_000;
const HEADERS_MS = 30_000;

/** Listens. Rejects with a clear message when the port is taken. */
export async function startHttpServer(options: HttpServerOptions): Promise<RunningHttpServer> {
  const server = createServer({
    keepAliveTimeout: options.keepAliveMs ?? KEEP_ALIVE_MS,
    headersTimeout: HEADERS_MS,
    requestTimeout: 0, // a body of 5 GiB may take hours
    maxHeaderSize: callHeaderBytesMax,
    requireHostHeader: false, // the listener refuses what has none, in the app's words
    noDelay: true,
  });
  const sockets = new Set<Socket>();
  const underWay = new Set<ServerResponse>();
  let closing = false;
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  const listener = requestListener(options);
  const accept = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    if (closing) outgoing.shouldKeepAlive = false;
    underWay.add(outgoing);
    outgoing.once("close", () => {
      underWay.delete(outgoing);
      if (closing) incoming.socket.destroySoon();
    });
    void listener(incoming, outgoing);
  };
  server.on("request", accept);
  server.on("checkContinue", (incoming: IncomingMessage, outgoing: ServerResponse) => {
    awaitContinue(incoming, outgoing);
    accept(incoming, outgoing);
  });
  server.timeout = options.idleMs ?? connectionIdleMs;
  refuseUnreadable(server, underWay, options.refuse);
  await listen(server, options.host, options.port);
  // Such as too many open files at an accept: without a listener it would end the process.
  server.on("error", (error) => options.log?.error("The HTTP listener failed", { error }));
  const close = (): Promise<void> => {
    closing = true;
    const busy = new Set<Socket>();
    for (const outgoing of underWay) {
      outgoing.shouldKeepAlive = false;
      if (outgoing.socket) busy.add(outgoing.socket);
    }
    // Not closeIdleConnections(): it spares connections that never sent a request.
    for (const socket of sockets) if (!busy.has(socket)) socket.destroy();
    return ended(server);
  };
  let ending: Promise<void> | undefined;
  return { url: urlOf(server, options.host), close: () => (ending ??= close()) };
}

function requestListener({
  app,
  log,
  refuse,
}: HttpServerOptions): (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void> {
  return getRequestListener(
    async (request, env) => {
      const incoming = env.incoming as IncomingMessage;
      const outgoing = env.outgoing as ServerResponse;
      const respond: ServerBindings["respond"] = (status, headers, body) => {
        void writeBody(outgoing, status, headers, body, log);
        return RESPONSE_ALREADY_SENT;
      };
      const response = await app.fetch(request, {
        requestBody: () => (isSmall(incoming) ? smallBodyOf(incoming) : bodyOf(incoming)),
        respond,
        header: (name) => {
          const value = incoming.headers[name];
          return typeof value === "string" ? value : value?.join(", ");
        },
        remoteIp: incoming.socket.remoteAddress,
        rawTarget: incoming.url,
        rawHeaders: incoming.rawHeaders,
      });
      // An app that knows nothing of respond() answers with a stream, and names its length. Reading `body` of
      // other answers would cost them the adapter's short path.
      if (incoming.method !== "GET" || isWhole(response)) return response;
      if (response === RESPONSE_ALREADY_SENT || !response.headers.has("content-length"))
        return response;
      const source = response.body ? sourceOf(response.body) : undefined;
      if (!source) return response;
      return respond(response.status, Object.fromEntries(response.headers), source);
    },
    { overrideGlobalObjects: true, errorHandler: (error) => unanswered(error, log, refuse) },
  );
}

/** Whether a body is said to be no larger than what is stored beside a register, and so never streamed. */
function isSmall({ headers }: IncomingMessage): boolean {
  return Number(headers["content-length"] ?? Number.NaN) <= inlineBytesMax;
}

/** For what reached no app, because it names no URL (a host or path that cannot be one), or whose app threw. */
function unanswered(
  error: unknown,
  log: Log | undefined,
  refuse: HttpServerOptions["refuse"],
): Response {
  if (error instanceof RequestError) {
    const { status, headers, body } = refuse?.("malformed") ?? {
      status: 400,
      headers: {},
      body: null,
    };
    return new Response(body, { status, headers });
  }
  log?.error("A request failed by a fault of its app", { error });
  return new Response(null, { status: 500 });
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const reason =
        error.code === "EADDRINUSE" ? "the port is taken by another process" : error.message;
      reject(new RingstowError("Unavailable", `Cannot listen on ${host}:${port}: ${reason}`));
    });
    server.listen(port, host, () => {
      server.removeAllListeners("error");
      resolve();
    });
  });
}

function ended(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => server.closeAllConnections(), closeGraceMs);
    server.close((error) => {
      clearTimeout(timer);
      if (error) reject(error);
      else resolve();
    });
  });
}

function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo;
  // A wildcard address cannot be called.
  const name = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return `http://${isIPv6(name) ? `[${name}]` : name}:${port}`;
}
