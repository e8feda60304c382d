// Signed calls to nodes, one after the other until one answers.
import { RingstowError } from "../../shared/errors.ts";
import {
  callHeadTimeoutMs,
  copyHeadTimeoutMs,
  nativeWaitMaxMs,
  callReplyBytesMax,
  readHeadTimeoutMs,
  upstreamAttemptsMax,
} from "../../shared/limits.ts";
import {
  type MemberTable,
  type MemberView,
  OBJECT_CALLS,
  type ObjectMethod,
  argumentsHeader,
  authHeader,
  errorOfReply,
  targetOf,
} from "../../shared/object-protocol.ts";
import { type RequestSigner } from "../../shared/peer-auth.ts";
import { type UpstreamClient } from "../platform.ts";
import { type HttpCall, HttpCallError, type HttpCaller, type HttpReply } from "./http-caller.ts";
import { type NodeOrder } from "./node-order.ts";
import { readJson } from "./reply.ts";

export interface NodeCallsDeps {
  readonly caller: HttpCaller;
  readonly signer: RequestSigner;
  readonly order: NodeOrder;
  readonly table: () => Promise<MemberTable>;
  readonly wallMs: () => number;
}

export interface ObjectCallOptions<T> {
  readonly client: UpstreamClient;
  readonly method: ObjectMethod;
  /** Arguments as they cross the wire; `again`: another node was sent them before and may be at work on them. */
  readonly args: (again: boolean) => string;
  /** Whether the arguments are the body, or stand in a header, beside another body or none. */
  readonly argsInBody: boolean;
  /** Of an upload. */
  readonly body?: () => HttpCall["body"];
  /** Whether the call may be sent (again) after a failure. */
  readonly mayRepeat: () => boolean;
  /** Reads a reply of status 200. */
  readonly read: (reply: HttpReply, member: MemberView) => Promise<T>;
}

/** A node answered with an error. */
class NodeRefusal extends Error {
  readonly refusal: RingstowError;
  /** The node refuses this gateway, not the request. */
  readonly hop: boolean;
  constructor(refusal: RingstowError, hop: boolean) {
    super(refusal.message);
    this.refusal = refusal;
    this.hop = hop;
  }
}

export class NodeCalls {
  readonly #deps: NodeCallsDeps;

  constructor(deps: NodeCallsDeps) {
    this.#deps = deps;
  }

  /**
   * The first node's answer that settles the call. Throws what a node refused it with, Unavailable when none
   * settled it, or what the body's iterator threw.
   */
  async call<T>(options: ObjectCallOptions<T>): Promise<T> {
    const { order, wallMs, table } = this.#deps;
    const startMs = wallMs();
    const members = order.candidates(await table(), options.client).slice(0, upstreamAttemptsMax);
    let last: RingstowError | undefined;
    for (const [i, member] of members.entries()) {
      // A read can be asked elsewhere at no risk, so a silent node is left early.
      const reads = targetOf(options.method).method === "GET" && !WAITING.has(options.method);
      const soon = reads && i < members.length - 1;
      const end = order.begin(member.id);
      try {
        const value = await this.#attempt(options, member, { soon, again: i > 0 });
        order.succeeded(member.id);
        return value;
      } catch (error) {
        last = this.#judge(error, member);
      } finally {
        end();
      }
      if (!options.mayRepeat() || wallMs() - startMs > callHeadTimeoutMs) break;
    }
    throw last ?? new RingstowError("Unavailable", "Cannot find any node");
  }

  async #attempt<T>(
    options: ObjectCallOptions<T>,
    member: MemberView,
    { soon, again }: { readonly soon: boolean; readonly again: boolean },
  ): Promise<T> {
    const { method, client } = options;
    const args = options.args(again);
    const target = targetOf(method);
    const auth = this.#deps.signer.sign({ ...target, args }, member.id, client);
    const reply = await this.#deps.caller.call({
      ...target,
      origin: member.url,
      headers: options.argsInBody
        ? { [authHeader]: auth }
        : { [argumentsHeader]: args, [authHeader]: auth },
      body: options.argsInBody ? args : options.body?.(),
      headTimeoutMs: soon ? readHeadTimeoutMs : headTimeoutMs(method),
    });
    if (reply.status === 200) return options.read(reply, member);
    const json = await readJson(reply, callReplyBytesMax);
    throw new NodeRefusal(errorOfReply(reply.status, json), reply.status === 401);
  }

  /** What the failure means for the caller, if no other node settles the call; throws it when none can. */
  #judge(error: unknown, member: MemberView): RingstowError {
    const { order } = this.#deps;
    if (error instanceof HttpCallError) {
      order.failed(member.id);
      return unavailable(member, error.message);
    }
    if (!(error instanceof NodeRefusal)) throw error;
    if (error.hop) {
      order.failed(member.id);
      return unavailable(member, error.message);
    }
    order.succeeded(member.id);
    if (!error.refusal.retryable) throw error.refusal;
    return error.refusal;
  }
}

/** Calls that may wait at the node, because their client asked for it. */
const WAITING: ReadonlySet<ObjectMethod> = new Set(["lookup", "beginWrite", "finishWrite"]);

function headTimeoutMs(method: ObjectMethod): number {
  if (method === "copy" || method === "copyPart") return copyHeadTimeoutMs;
  return WAITING.has(method) ? nativeWaitMaxMs + callHeadTimeoutMs : callHeadTimeoutMs;
}

/** A reply by the table. Throws Internal when a node speaks another protocol. */
export function replyOf(method: ObjectMethod, json: unknown): unknown {
  const parsed = OBJECT_CALLS[method].reply.safeParse(json);
  if (parsed.success) return parsed.data;
  const reason = parsed.error.message;
  throw new RingstowError("Internal", `Cannot read a node's reply to "${method}": ${reason}`);
}

function unavailable(member: MemberView, reason: string): RingstowError {
  return new RingstowError("Unavailable", `Cannot use node "${member.url}": ${reason}`);
}
