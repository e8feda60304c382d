// Replies of nodes: JSON as a whole, and the JSON head in front of a download's bytes.
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

/** Reads the head; what is left of the reply comes from `bytes`. Stops the reply when the head is unreadable. */
export async function readHead(
  reply: HttpReply,
): Promise<{ head: unknown; bytes: AsyncIterator<Uint8Array> }> {
  const inner = reply.body[Symbol.asyncIterator]();
  const wanted = Number(reply.header(headBytesHeader) ?? Number.NaN);
  let held = new Uint8Array(0);
  try {
    if (!(wanted > 0 && wanted <= callReplyBytesMax))
      throw new RingstowError("Internal", "Cannot read a node's reply: it has no head");
    while (held.length < wanted) {
      const step = await inner.next();
      if (step.done) throw new RingstowError("Internal", "Cannot read a node's reply: it is short");
      held = held.length === 0 ? new Uint8Array(step.value) : joined(held, step.value);
    }
  } catch (error) {
    await inner.return?.();
    throw error;
  }
  const rest = held.subarray(wanted);
  return {
    head: parse(held.subarray(0, wanted)),
    bytes: rest.length > 0 ? before(rest, inner) : inner,
  };
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}

function before(first: Uint8Array, inner: AsyncIterator<Uint8Array>): AsyncIterator<Uint8Array> {
  let waiting: Uint8Array | undefined = first;
  return {
    next() {
      if (!waiting) return inner.next();
      const value = waiting;
      waiting = undefined;
      return Promise.resolve({ done: false, value });
    },
    async return() {
      await inner.return?.();
      return { done: true, value: undefined };
    },
  };
}
