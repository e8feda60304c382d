// The nodes as one ObjectService a client: the nearest live node is called, then the next.
// Invariants: what may be repeated is repeated with the same request id; an upload is never sent twice
// unless all of it is held or none of it was taken; a download goes on only with the same version of the object.
import { HeldBody } from "../../shared/body-stream.ts";
import { RingstowError } from "../../shared/errors.ts";
import { argumentsHeaderBytesMax, callReplyBytesMax } from "../../shared/limits.ts";
import {
  CONDITIONAL_WRITES,
  type GetHead,
  OBJECT_CALLS,
  type NodeService,
  type ObjectMethod,
  toAsciiJson,
} from "../../shared/object-protocol.ts";
import {
  type BodyPlan,
  type ByteStream,
  type GetRequest,
  type GetResult,
} from "../../shared/object-service.ts";
import { RequestSigner } from "../../shared/peer-auth.ts";
import { type Upstream, type UpstreamClient } from "../platform.ts";
import { clientService } from "./client-service.ts";
import { holdBody } from "./held-body.ts";
import { type HttpCaller } from "./http-caller.ts";
import { MemberDirectory } from "./member-directory.ts";
import { NodeCalls, replyOf } from "./node-calls.ts";
import { NodeOrder } from "./node-order.ts";
import { before, readHead, readJson } from "./reply.ts";
import { type Download, ResumedBody, watched } from "./resumed-body.ts";

export interface UpstreamConfig {
  /** Base URLs of nodes to learn the others from, at least one. */
  readonly seeds: readonly string[];
  /** 32 bytes. */
  readonly gatewaySecret: Uint8Array;
  readonly caller: HttpCaller;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  /** 32 random hex digits, new for each start of the gateway. */
  readonly session: string;
}

const EMPTY = new HeldBody(new Uint8Array(0));

interface UploadRequest {
  readonly body: BodyPlan;
}

export class NearestUpstream implements Upstream {
  readonly #caller: HttpCaller;
  readonly #directory: MemberDirectory;
  readonly #order: NodeOrder;
  readonly #calls: NodeCalls;
  readonly #Service = clientService({
    json: (client, method, request) => this.#json(client, method, request),
    upload: (client, method, request, body) =>
      this.#upload(client, method, request as UploadRequest, body),
    get: (client, request) => this.#get(client, request),
  });

  constructor(config: UpstreamConfig) {
    const signer = new RequestSigner(config.gatewaySecret, config.session, config.wallMs);
    this.#caller = config.caller;
    this.#directory = new MemberDirectory({ ...config, signer });
    this.#order = new NodeOrder(config.wallMs);
    this.#calls = new NodeCalls({
      ...config,
      signer,
      order: this.#order,
      table: () => this.#directory.table(),
    });
  }

  /** Fetches the member table for the first time. Throws Unavailable when no seed answers; calls try again. */
  start(): Promise<void> {
    return this.#directory.refresh();
  }

  /** Breaks what is under way. */
  stop(): Promise<void> {
    return this.#caller.close();
  }

  service(client: UpstreamClient): NodeService {
    return new this.#Service(client);
  }

  async #json(client: UpstreamClient, method: ObjectMethod, request: unknown): Promise<unknown> {
    const argsInBody = OBJECT_CALLS[method].kind === "write";
    const value = await this.#calls.call({
      client,
      method,
      args: argumentsOf(method, request, argsInBody ? JSON.stringify : headerText),
      argsInBody,
      mayRepeat: () => true,
      read: async (reply) => replyOf(method, await readJson(reply, callReplyBytesMax)),
    });
    return value ?? undefined;
  }

  async #upload(
    client: UpstreamClient,
    method: ObjectMethod,
    request: UploadRequest,
    body: ByteStream,
  ): Promise<unknown> {
    const { encoding, length } = request.body;
    const source = await holdBody(body, encoding === "plain" ? length : undefined);
    try {
      return await this.#calls.call({
        client,
        method,
        args: argumentsOf(method, request, headerText),
        argsInBody: false,
        body: () => source.body(),
        mayRepeat: () => source.fresh(),
        read: async (reply) => replyOf(method, await readJson(reply, callReplyBytesMax)),
      });
    } catch (error) {
      await source.stop();
      throw error;
    }
  }

  async #get(client: UpstreamClient, request: GetRequest): Promise<GetResult> {
    const { head, bytes, held } = await this.#open(client, request);
    if (head.type === "notModified") return head;
    const result = { ...head, partsCount: head.partsCount };
    if (request.headOnly) return { ...result, body: EMPTY };
    if (held) return { ...result, body: new HeldBody(held) };
    const { bucket, key } = request;
    const conditions = { ifMatch: [head.entry.etag] };
    const body = new ResumedBody(head, bytes, (from, to) =>
      // RangeRequest is inclusive at both ends, as in HTTP.
      this.#open(client, { bucket, key, conditions, range: { from, to: to - 1 }, headOnly: false }),
    );
    return { ...result, body };
  }

  #open(client: UpstreamClient, request: GetRequest): Promise<Download> {
    return this.#calls.call({
      client,
      method: "get",
      args: argumentsOf("get", request, headerText),
      argsInBody: false,
      mayRepeat: () => true,
      read: async (reply, member) => {
        const { head, first, rest } = await readHead(reply);
        const end = this.#order.begin(member.id);
        const download = watched(before(first, rest), (broken) => {
          end();
          if (broken) this.#order.failed(member.id);
        });
        try {
          const parsed = replyOf("get", head) as GetHead;
          const bodyBytes =
            parsed.type === "notModified" || request.headOnly ? 0 : parsed.to - parsed.from;
          if (first.length < bodyBytes) return { head: parsed, bytes: download };
          // All is here but the reply's end, which frees the connection.
          if (first.length > 0) await download.next();
          const ending = await download.next();
          if (first.length > bodyBytes || !ending.done) {
            throw new RingstowError("Internal", "A node sent more than it promised");
          }
          const bytes = new HeldBody(first)[Symbol.asyncIterator]();
          return { head: parsed, bytes, held: first };
        } catch (error) {
          await download.return?.();
          throw error;
        }
      },
    });
  }
}

/** A request's arguments for the first node and, said to be sent again where that matters, for the next ones. */
function argumentsOf(
  method: ObjectMethod,
  request: unknown,
  encode: (request: unknown) => string,
): (again: boolean) => string {
  const first = encode(request);
  if (!CONDITIONAL_WRITES.has(method)) return () => first;
  return (again) => (again ? encode({ ...(request as object), again }) : first);
}

/** Arguments for a header. Throws InvalidRequest when what the client gave makes them too long for one. */
function headerText(request: unknown): string {
  const text = toAsciiJson(request);
  if (text.length <= argumentsHeaderBytesMax) return text;
  throw new RingstowError(
    "InvalidRequest",
    `Cannot pass the request on: its headers and parameters make ${text.length} bytes, more than ${argumentsHeaderBytesMax}`,
  );
}
