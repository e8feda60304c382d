// What a client may do at this node without a gateway, by a short-lived token of one (shared/access-token.ts): read one
// sealed block, write into one draft. Answers carry CORS headers: the token is the permission, whatever page asks.
//   GET, HEAD /v1/blocks/{block}?token=    Range as in HTTP
//   PATCH     /v1/drafts/{block}?token=    x-ringstow-offset: where the body goes, default 0; answers {"size"}
import { type Context, Hono } from "hono";
import { type AccessGrant, openToken } from "../shared/access-token.ts";
import { fromReadable, toReadable } from "../shared/body-stream.ts";
import { RingstowError } from "../shared/errors.ts";
import { blockBytesMax } from "../shared/limits.ts";
import { type ByteStream } from "../shared/object-service.ts";
import { type ServerBindings } from "../shared/server-bindings.ts";
import { type Data } from "./data/types.ts";
import { type Index } from "./index/types.ts";
import { writeHeldDraft } from "./object/native-draft.ts";
import { type Clock } from "./ports.ts";
import { type Route } from "./route/types.ts";

export interface DirectDeps {
  readonly index: Pick<Index, "read">;
  readonly data: Pick<Data, "read" | "writeDraft">;
  readonly route: Pick<Route, "self">;
  readonly clock: Pick<Clock, "wallMs">;
  /** Verifies tokens, 32 bytes. */
  readonly hopSecret: Uint8Array;
  /** The id space has 2^sliceBits slices (genesis). */
  readonly sliceBits: number;
}

type DirectContext = Context<{ Bindings: ServerBindings }>;

const CORS = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "GET, HEAD, PATCH",
  "access-control-allow-headers": "range, x-ringstow-offset, content-type",
  "access-control-expose-headers": "content-range, etag",
  "access-control-max-age": "86400",
};

/** To be mounted under "/v1". */
export function createDirectApp(deps: DirectDeps): Hono<{ Bindings: ServerBindings }> {
  const app = new Hono<{ Bindings: ServerBindings }>();
  app.options("*", () => new Response(null, { status: 204, headers: CORS }));
  // Hono answers HEAD by the GET handler.
  app.get("/blocks/:block", (c) => readBlock(deps, c));
  app.patch("/drafts/:block", (c) => writeDraft(deps, c));
  app.notFound(() => refuse(new RingstowError("InvalidRequest", "Unknown path"), 404));
  app.onError((error) => {
    if (error instanceof RingstowError) return refuse(error, error.status);
    throw error;
  });
  return app;
}

async function readBlock(deps: DirectDeps, c: DirectContext): Promise<Response> {
  const grant = grantOf(deps, c, "read");
  const range = rangeOf(c.req.header("range"), grant.size);
  const { from, to } = range ?? { from: 0, to: grant.size };
  const headers: Record<string, string> = {
    ...CORS,
    "accept-ranges": "bytes",
    "cache-control": "private, max-age=31536000, immutable",
    "content-length": String(to - from),
    "content-type": "application/octet-stream",
    etag: `"${grant.block}"`,
  };
  if (range) headers["content-range"] = `bytes ${from}-${to - 1}/${grant.size}`;
  const status = range ? 206 : 200;
  if (c.req.method === "HEAD") return new Response(null, { status, headers });
  // The lookup chose this node because its pointer is not behind: no other one is asked.
  const replicas = [{ node: deps.route.self.id, version: 1 }];
  const body = await opened(
    deps.data.read({ id: grant.block, size: grant.size, replicas }, from, to),
  );
  return (
    c.env?.respond?.(status, headers, body) ?? new Response(toReadable(body), { status, headers })
  );
}

/** The stream once its first chunk is there: a block that cannot be read is told, and not a broken connection. */
async function opened(stream: ByteStream): Promise<ByteStream> {
  const inner = stream[Symbol.asyncIterator]();
  let first: IteratorResult<Uint8Array> | undefined = await inner.next();
  const iterator: AsyncIterator<Uint8Array> = {
    next: () => {
      if (!first) return inner.next();
      const step = first;
      first = undefined;
      return Promise.resolve(step);
    },
    return: async () => {
      await inner.return?.();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

async function writeDraft(deps: DirectDeps, c: DirectContext): Promise<Response> {
  const grant = grantOf(deps, c, "write");
  const offset = offsetOf(c.req.header("x-ringstow-offset") ?? "0");
  const body: ByteStream = c.env?.requestBody?.() ?? fromReadable(c.req.raw.body);
  const size = await writeHeldDraft(deps, grant, offset, body);
  return Response.json({ size }, { headers: CORS });
}

function grantOf<T extends AccessGrant["type"]>(
  { route, clock, hopSecret }: DirectDeps,
  c: DirectContext,
  type: T,
): Extract<AccessGrant, { type: T }> {
  const at = { node: route.self.id, wallMs: clock.wallMs() };
  const grant = openToken(hopSecret, c.req.query("token") ?? "", at);
  if (grant.type !== type || grant.block !== c.req.param("block")) {
    throw new RingstowError("AccessDenied", "The access token is for something else");
  }
  return grant as Extract<AccessGrant, { type: T }>;
}

/** One range, its end exclusive; undefined: all of it. Throws InvalidRange as RFC 9110 section 14 has it. */
function rangeOf(
  header: string | undefined,
  size: number,
): { readonly from: number; readonly to: number } | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/u.exec(header ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return undefined;
  const [first, last] = [match[1]!, match[2]!];
  const from = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const to = first === "" || last === "" ? size : Math.min(Number(last) + 1, size);
  if (first !== "" && last !== "" && Number(last) < Number(first)) return undefined;
  if (from < to) return { from, to };
  throw new RingstowError("InvalidRange", undefined, { size: String(size) });
}

function offsetOf(text: string): number {
  const offset = Number(text);
  if (/^\d{1,15}$/u.test(text) && offset <= blockBytesMax) return offset;
  throw new RingstowError(
    "InvalidRequest",
    `Cannot write at "${text}": x-ringstow-offset must be a number of bytes up to ${blockBytesMax}`,
  );
}

function refuse({ code, message, details }: RingstowError, status: number): Response {
  const headers: Record<string, string> = { ...CORS };
  // RFC 9110 section 15.5.17: says how long the block is.
  if (code === "InvalidRange" && details["size"] !== undefined)
    headers["content-range"] = `bytes */${details["size"]}`;
  return Response.json({ code, message, details }, { status, headers });
}
