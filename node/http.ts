// The HTTP app of a node: the server side of shared/object-protocol.ts, the member table, health, status and digests.
// Invariants: nothing runs before the signature is checked; an upload that fails early answers before its body is
// read; a download that breaks errors its stream, so that the connection breaks and no client sees a short body.
import { type Context, Hono } from "hono";
import {
  HeldBody,
  collect,
  concat,
  fromReadable,
  toReadable,
  wholeResponse,
} from "../shared/body-stream.ts";
import { RingstowError } from "../shared/errors.ts";
import { callArgumentsBytesMax } from "../shared/limits.ts";
import {
  OBJECT_CALLS,
  type MemberTable,
  type NodeService,
  type ObjectMethod,
  argumentsHeader,
  authHeader,
  headBytesHeader,
  headOf,
  healthPath,
  isObjectMethod,
  membersPath,
  objectPath,
  statusPath,
  digestsPath,
  targetOf,
  withoutBlocks,
} from "../shared/object-protocol.ts";
import {
  type ByteStream,
  type GetRequest,
  type ListResult,
  type ListUploadsResult,
} from "../shared/object-service.ts";
import { ANY_NODE, RequestVerifier } from "../shared/peer-auth.ts";
import { type NodeStatus } from "../shared/protocol/node.ts";
import { type ServerBindings } from "../shared/server-bindings.ts";
import { type DirectDeps, createDirectApp } from "./http-direct.ts";
import { prefixed } from "./http-frame.ts";
import { UploadBody } from "./http-upload.ts";
import { type Clock, type Log } from "./ports.ts";
import { type Route } from "./route/types.ts";

export interface NodeAppDeps {
  readonly object: NodeService;
  readonly route: Route;
  readonly status: () => Promise<NodeStatus>;
  /** Of each slice held, for comparing replicas. */
  readonly digests: () => Promise<ReadonlyMap<number, string>>;
  /** 32 bytes. */
  readonly gatewaySecret: Uint8Array;
  readonly clock: Clock;
  /** The id space has 2^sliceBits slices (genesis). */
  readonly sliceBits: number;
  /** For clients that come without a gateway; none are served without it. */
  readonly direct?: DirectDeps | undefined;
  readonly log?: Log | undefined;
}

type NodeContext = Context<{ Bindings: ServerBindings }>;

const JSON_HEADERS = { "content-type": "application/json", "cache-control": "no-store" };
const encoder = new TextEncoder();

/** Starts nothing. A server gives `ServerBindings` as env; without them web streams are used. */
export function createNodeApp(deps: NodeAppDeps): Hono<{ Bindings: ServerBindings }> {
  return new NodeApp(deps).app;
}

class NodeApp {
  readonly app = new Hono<{ Bindings: ServerBindings }>();
  readonly #deps: NodeAppDeps;
  readonly #verifier: RequestVerifier;
  #underWay = 0;

  constructor(deps: NodeAppDeps) {
    this.#deps = deps;
    this.#verifier = new RequestVerifier(deps.gatewaySecret, () => deps.clock.wallMs());
    this.app.on(["GET", "POST"], `${objectPath}:method`, (c) => this.#call(c));
    this.app.get(membersPath, (c) => this.#signed(c, () => this.#members()));
    this.app.get(statusPath, (c) => this.#signed(c, deps.status));
    this.app.get(digestsPath, (c) =>
      this.#signed(c, async () => Object.fromEntries(await deps.digests())),
    );
    if (deps.direct) this.app.route("/v1", createDirectApp(deps.direct));
    this.app.get(healthPath, () => json(200, { id: deps.route.self.id, ready: true }));
    this.app.notFound(() => failure(new RingstowError("InvalidRequest", "Unknown path"), 404));
    this.app.onError((error) => this.#failed(error));
  }

  async #call(c: NodeContext): Promise<Response> {
    const method = c.req.param("method") ?? "";
    if (!isObjectMethod(method) || targetOf(method).method !== c.req.method)
      return failure(new RingstowError("InvalidRequest", `Cannot call "${method}": unknown`), 404);
    this.#underWay++;
    try {
      switch (OBJECT_CALLS[method].kind) {
        case "read":
          return await this.#json(c, method, argumentsLine(c));
        case "write":
          return await this.#json(c, method, await argumentsBody(c));
        case "upload":
          return await this.#upload(c, method as "put" | "putPart");
        case "download":
          return await this.#download(c);
      }
    } catch (error) {
      return this.#failed(error);
    } finally {
      this.#underWay--;
    }
  }

  async #json(c: NodeContext, method: ObjectMethod, args: string): Promise<Response> {
    const request = this.#open(c, method, args);
    // The table and the service have the same methods and shapes; the compiler cannot follow the pairing.
    const service = this.#deps.object as unknown as Record<
      string,
      (r: unknown) => Promise<unknown>
    >;
    const reply = await service[method]!(request);
    return json(200, lean(method, reply));
  }

  async #upload(c: NodeContext, method: "put" | "putPart"): Promise<Response> {
    const declared = headerOf(c, "content-length");
    const body = new UploadBody(
      () => requestBody(c),
      declared === undefined ? undefined : Number(declared),
    );
    const request = this.#open(c, method, argumentsLine(c));
    return json(200, await this.#deps.object[method](request as never, body));
  }

  async #download(c: NodeContext): Promise<Response> {
    const request = this.#open(c, "get", argumentsLine(c)) as GetRequest;
    const result = await this.#deps.object.get(request);
    const head = encoder.encode(JSON.stringify(headOf(result, request)));
    const hasBody = result.type === "object" && !request.headOnly;
    const bodyBytes = hasBody ? result.to - result.from : 0;
    const headers = {
      "content-type": "application/octet-stream",
      "cache-control": "no-store",
      "content-length": String(head.length + bodyBytes),
      [headBytesHeader]: String(head.length),
    };
    if (!hasBody) return wholeResponse(head, { status: 200, headers });
    if (result.body instanceof HeldBody && result.body.bytes.length === bodyBytes) {
      const bytes = concat([head, result.body.bytes], head.length + bodyBytes);
      return wholeResponse(bytes, { status: 200, headers });
    }
    const body = prefixed(head, result.body);
    const sent = c.env?.respond?.(200, headers, body);
    return sent ?? new Response(toReadable(body), { status: 200, headers });
  }

  /** Checks the signature, then the arguments' shape. */
  #open(c: NodeContext, method: ObjectMethod, args: string): unknown {
    const signed = { ...targetOf(method), args };
    this.#verify(c, signed, this.#deps.route.self.id);
    const parsed = OBJECT_CALLS[method].request.safeParse(parseJson(args));
    if (parsed.success) return parsed.data;
    throw new RingstowError("InvalidRequest", `Cannot read "${method}": ${parsed.error.message}`);
  }

  async #signed(c: NodeContext, answer: () => unknown): Promise<Response> {
    try {
      this.#verify(c, { method: "GET", path: c.req.path, args: "" }, ANY_NODE);
      return json(200, await answer());
    } catch (error) {
      return this.#failed(error);
    }
  }

  #verify(
    c: NodeContext,
    signed: Parameters<RequestVerifier["verify"]>[1],
    audience: string,
  ): void {
    try {
      this.#verifier.verify(headerOf(c, authHeader), signed, audience);
    } catch (error) {
      if (error instanceof RingstowError && error.code === "AccessDenied")
        throw new HopRefusal(error);
      throw error;
    }
  }

  #members(): MemberTable {
    const { route, sliceBits } = this.#deps;
    const members = route.live().map(({ id, url, zone, position, freeBytes }) => ({
      id,
      url,
      zone,
      position,
      freeBytes,
      load: id === route.self.id ? this.#underWay : 0,
    }));
    return { sliceBits, members };
  }

  #failed(error: unknown): Response {
    if (error instanceof HopRefusal) return failure(error.refusal, 401);
    if (error instanceof RingstowError) return failure(error, error.status);
    this.#deps.log?.error("A request failed by a fault of the node", { error });
    return failure(new RingstowError("Internal"), 500);
  }
}

/** The gateway itself is refused, not its client: 401, so that nobody takes it for an answer of the service. */
class HopRefusal extends Error {
  readonly refusal: RingstowError;
  constructor(refusal: RingstowError) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

function json(status: number, value: unknown): Response {
  return new Response(JSON.stringify(value), { status, headers: JSON_HEADERS });
}

function failure(error: RingstowError, status: number): Response {
  const { code, message, details } = error;
  return json(status, { code, message, details });
}

/** A reply without what no list shows: a thousand entries with all that clients say of them would be too long. */
function lean(method: ObjectMethod, reply: unknown): unknown {
  const undescribed = { headers: {}, metadata: {} };
  if (method === "list") {
    const list = reply as ListResult;
    const entries = list.entries.map(({ key, entry }) => ({
      key,
      entry: { ...withoutBlocks(entry), ...undescribed },
    }));
    return { ...list, entries };
  }
  if (method === "listUploads") {
    const list = reply as ListUploadsResult;
    const uploads = list.uploads.map(({ key, upload }) => ({
      key,
      upload: { ...upload, ...undescribed },
    }));
    return { ...list, uploads };
  }
  return reply ?? null;
}

function requestBody(c: NodeContext): ByteStream {
  return c.env?.requestBody?.() ?? fromReadable(c.req.raw.body);
}

function headerOf(c: NodeContext, name: string): string | undefined {
  const { header } = c.env ?? {};
  return header ? header(name) : c.req.header(name);
}

function argumentsLine(c: NodeContext): string {
  return headerOf(c, argumentsHeader) ?? "";
}

async function argumentsBody(c: NodeContext): Promise<string> {
  const declared = Number(headerOf(c, "content-length") ?? Number.NaN);
  if (declared <= callArgumentsBytesMax) return c.req.text();
  const bytes = Number.isNaN(declared)
    ? await collect(requestBody(c), callArgumentsBytesMax)
    : undefined;
  if (bytes) return new TextDecoder().decode(bytes);
  throw new RingstowError("EntityTooLarge", "Cannot read the arguments: too long");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new RingstowError("InvalidRequest", "Cannot read the arguments: no JSON");
  }
}
