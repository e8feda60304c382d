// The body of a download on the wire: a head, then the object's bytes.
import { type ByteStream } from "../shared/object-service.ts";

/** Below this a copy is cheaper than a second write to the socket. */
const mergeBytesMax = 64 * 1024;

/** `head`, then `body`. return() reaches the body even when nothing was read yet (a generator's would not). */
export function prefixed(head: Uint8Array, body: ByteStream): ByteStream {
  return {
    [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
      const inner = body[Symbol.asyncIterator]();
      let waiting: Uint8Array | undefined;
      let started = false;
      return {
        async next() {
          if (waiting) {
            const value = waiting;
            waiting = undefined;
            return { done: false, value };
          }
          const step = await inner.next();
          if (started) return step;
          started = true;
          if (step.done) return { done: false, value: head };
          if (step.value.length <= mergeBytesMax)
            return { done: false, value: joined(head, step.value) };
          waiting = step.value;
          return { done: false, value: head };
        },
        async return() {
          waiting = undefined;
          await inner.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}
