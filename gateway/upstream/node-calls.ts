// Signed calls to nodes, one after the other until one answers. While one takes long, those that would be called after
// it are asked for a sign of life as well: a request meets one silent node, however many there are.
import { RingstowError } from "../../shared/errors.ts";
import {
  callHeadTimeoutMs,
  copyHeadTimeoutMs,
  nativeWaitMaxMs,
  callReplyBytesMax,
  lastNodeAsks,
  nodeSignMs,
  readHeadTimeoutMs,
  refusalTriesMs,
  timerLateMs,
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
  healthPath,
  targetOf,
} from "../../shared/object-protocol.ts";
import { type RequestSigner } from "../../shared/peer-auth.ts";
import { type UpstreamClient } from "../platform.ts";
import { type HttpCall, HttpCallError, type HttpCaller, type HttpReply } from "./http-caller.ts";
import { type NodeOrder } from "./node-order.ts";
import { readJson } from "./reply.ts";
import { whileAlive } from "./sign-of-life.ts";

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

interface How {
  /** Asked elsewhere when it takes seconds. */
  readonly soon: boolean;
  /** Another node was asked before. */
  readonly again: boolean;
  /** Left only after a longer silence. */
  readonly stay: boolean;
  /** Those to be called after it, as many as may be. */
  readonly others: readonly MemberView[];
  /** When the first one was called. */
  readonly startMs: number;
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
    const members = await table();
    // A read can be asked elsewhere at no risk, so a slow node is left early.
    const reads = targetOf(options.method).method === "GET" && !WAITING.has(options.method);
    for (const member of members.members)
      if (order.mayBeBack(member.id)) void this.#askForLife(member);
    const tried = new Set<string>();
    let refused = false;
    let last: RingstowError | undefined;
    for (;;) {
      // In order anew: meanwhile other requests may have found out who does not answer.
      const left = order.candidates(members, options.client).filter(({ id }) => !tried.has(id));
      const heard = left.find(({ id }) => order.wasHeardSince(id, startMs));
      const member = (tried.size > 0 ? heard : undefined) ?? left[0];
      if (!member) break;
      tried.add(member.id);
      const isLast = left.length === 1 || tried.size === upstreamAttemptsMax;
      // Without any answer so far the last one gets more time: maybe all are slow.
      const how = {
        soon: reads && !isLast,
        again: tried.size > 1,
        stay: isLast && !refused,
        others: left.filter((other) => other !== member).slice(0, upstreamAttemptsMax - 1),
        startMs,
      };
      const end = order.begin(member.id);
      try {
        const value = await this.#attempt(options, member, how);
        order.succeeded(member.id);
        return value;
      } catch (error) {
        last = this.#judge(error, member);
        refused ||= error instanceof NodeRefusal && !error.hop;
      } finally {
        end();
      }
      // A node refuses when it has tried for its own part: what it could not do in a second, no other will soon.
      const triesMs = refused ? refusalTriesMs : callHeadTimeoutMs;
      if (isLast || !options.mayRepeat() || wallMs() - startMs > triesMs) break;
    }
    throw last ?? new RingstowError("Unavailable", "Cannot find any node");
  }

  async #attempt<T>(
    options: ObjectCallOptions<T>,
    member: MemberView,
    { soon, again, stay, others, startMs }: How,
  ): Promise<T> {
    const { method, client } = options;
    const args = options.args(again);
    const target = targetOf(method);
    const auth = this.#deps.signer.sign({ ...target, args }, member.id, client);
    const call = this.#deps.caller.call({
      ...target,
      origin: member.url,
      headers: options.argsInBody
        ? { [authHeader]: auth }
        : { [argumentsHeader]: args, [authHeader]: auth },
      body: options.argsInBody ? args : options.body?.(),
      headTimeoutMs: soon ? readHeadTimeoutMs : headTimeoutMs(method),
    });
    const { order } = this.#deps;
    const signs = {
      ask: () => {
        for (const other of others)
          if (!order.wasHeardSince(other.id, startMs)) void this.#askForLife(other);
        order.doubted(member.id);
        return this.#ask(member);
      },
      asks: stay ? lastNodeAsks : 1,
      mayLeave: () => options.mayRepeat(),
    };
    const reply = await whileAlive(call, signs, stop);
    if (reply.status === 200) return options.read(reply, member);
    const json = await readJson(reply, callReplyBytesMax);
    throw new NodeRefusal(errorOfReply(reply.status, json), reply.status === 401);
  }

  /** Anything that a node answers is a sign of life. Rejects when none came. */
  async #ask({ id, url }: MemberView): Promise<void> {
    const { caller, order } = this.#deps;
    const health = { method: "GET", path: healthPath, headers: {} } as const;
    stop(await caller.call({ ...health, origin: url, headTimeoutMs: nodeSignMs }));
    order.livesOn(id);
  }

  /** Finds out whether a node that is not being called lives. */
  async #askForLife(member: MemberView): Promise<void> {
    const { order } = this.#deps;
    order.doubted(member.id);
    const askedAtMs = performance.now();
    try {
      await this.#ask(member);
    } catch {
      // Late itself: this machine has too much to do, and the sign may lie unread.
      const isLate = performance.now() - askedAtMs > nodeSignMs + timerLateMs;
      if (!isLate) order.failed(member.id);
    }
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

/** Nobody wants the reply. */
function stop(reply: HttpReply): void {
  reply.body[Symbol.asyncIterator]()
    .return?.()
    .catch(() => undefined); // broken is as good as stopped
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
