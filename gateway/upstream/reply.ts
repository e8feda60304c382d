// Replies of nodes: JSON as a whole, and the JSON head in front of a download's bytes.
import { giveChunk } from "../../shared/chunk-memory.ts";
import { collect } from "../../shared/body-stream.ts";
import { RingstowError } from "../../shared/errors.ts";
import { callReplyBytesMax } from "../../shared/limits.ts";
import { headBytesHeader } from "../../shared/object-protocol.ts";
import { type HttpReply } from "./http-caller.ts";

const decoder = new TextDecoder();

/** The reply's JSON; undefined when it is none (a proxy's page, say). Throws HttpCallError when the reply breaks. */
export async function readJson(reply: HttpReply, bytesMax: number): Promise<unknown> {
  const bytes = await collect(reply.body, bytesMax);
  if (!bytes) throw new RingstowError("Internal", "Cannot read a node's reply: too long");
  return parse(bytes);
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(bytes));
  } catch {
    return undefined;
  }
}

export interface HeadedReply {
  readonly head: unknown;
  /** Bytes behind the head that are here already. */
  readonly first: Uint8Array;
  /** What follows `first`. */
  readonly rest: AsyncIterator<Uint8Array>;
}

/** Reads the head. Stops the reply when it is unreadable. */
export async function readHead(reply: HttpReply): Promise<HeadedReply> {
  const rest = reply.body[Symbol.asyncIterator]();
  const wanted = Number(reply.header(headBytesHeader) ?? Number.NaN);
  let held: Uint8Array = new Uint8Array(0);
  try {
    if (!(wanted > 0 && wanted <= callReplyBytesMax))
      throw new RingstowError("Internal", "Cannot read a node's reply: it has no head");
    while (held.length < wanted) {
      const step = await rest.next();
      if (step.done) throw new RingstowError("Internal", "Cannot read a node's reply: it is short");
      held = held.length === 0 ? new Uint8Array(step.value) : joined(held, step.value);
      giveChunk(step.value);
    }
  } catch (error) {
    await rest.return?.();
    throw error;
  }
  return { head: parse(held.subarray(0, wanted)), first: held.subarray(wanted), rest };
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}

/** `first`, then what `inner` gives. */
export function before(
  first: Uint8Array,
  inner: AsyncIterator<Uint8Array>,
): AsyncIterator<Uint8Array> {
  let waiting = first.length > 0 ? first : undefined;
  return {
    next() {
      if (!waiting) return inner.next();
      const value = waiting;
      waiting = undefined;
      return Promise.resolve({ done: false, value });
    },
    async return() {
      waiting = undefined;
      await inner.return?.();
      return { done: true, value: undefined };
    },
  };
}
