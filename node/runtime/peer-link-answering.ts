// The answering side of one connection: calls and streams that the peer asked for go to this node's handlers.
import { RingstowError } from "../../shared/errors.ts";
import { callsInFlightMax, linkBacklogBytesMax, streamsPerLinkMax } from "../../shared/limits.ts";
import { type Caller, type Log, type PeerHandlers, TransportError } from "../ports.ts";
import { describeFailure, isExpected, packBounded, packValue } from "./frame-values.ts";
import { FRAME, FrameError, type FrameType } from "./frame.ts";
import { type Outbox } from "./peer-link-outbox.ts";
import { type WindowedStream } from "./peer-link-stream.ts";
import { type LinkStreams } from "./peer-link-streams.ts";

/** What the answering side needs of its node. */
export interface Answerer {
  readonly handlers: PeerHandlers | undefined;
  readonly log: Log;
}

export interface AnsweringOptions {
  readonly answerer: Answerer;
  readonly outbox: Outbox;
  readonly streams: LinkStreams;
  readonly breakOff: (reason: string) => void;
}

export class Answering {
  readonly #options: AnsweringOptions;
  readonly #caller: Caller;
  #calls = 0;

  constructor(options: AnsweringOptions, caller: Caller) {
    this.#options = options;
    this.#caller = caller;
  }

  /** Throws FrameError when the payload is no request. */
  onRequest(id: number, payload: unknown): void {
    const [name, request] = readNamed(payload);
    const { handlers } = this.#options.answerer;
    if (!handlers) return this.#sendFailure(id, name, notServing(name));
    if (this.#calls >= callsInFlightMax) {
      const text = `Cannot answer "${name}": too many calls wait here`;
      return this.#sendFailure(id, name, new RingstowError("SlowDown", text));
    }
    this.#calls++;
    let reply: Promise<unknown>;
    try {
      reply = handlers.call(name, request, this.#caller);
    } catch (error) {
      reply = Promise.reject(error);
    }
    reply.then(
      (value) => {
        this.#calls--;
        this.#sendReply(id, name, value);
      },
      (error: unknown) => {
        this.#calls--;
        this.#sendFailure(id, name, error);
      },
    );
  }

  /** Throws FrameError when the payload is no request, or the id is taken. */
  onOpen(id: number, payload: unknown): void {
    const [name, header] = readNamed(payload);
    const { streams, outbox } = this.#options;
    if (!streams.isOthersFreeId(id))
      throw new FrameError(`Cannot open stream ${id}: the id is not free`);
    const stream = streams.create(id);
    if (streams.size > streamsPerLinkMax) {
      stream.reset("too many streams");
      return;
    }
    outbox.message(FRAME.accept, id);
    void this.#serveStream(name, header, stream);
  }

  async #serveStream(name: string, header: unknown, stream: WindowedStream): Promise<void> {
    try {
      const { handlers } = this.#options.answerer;
      if (!handlers) throw notServing(name);
      await handlers.stream(name, header, stream, this.#caller);
      stream.end();
      stream.reset("the handler ended");
    } catch (error) {
      if (!(error instanceof TransportError)) this.#logFault("A stream's handler", name, error);
      stream.reset(error instanceof Error ? error.message : String(error));
    }
  }

  #sendReply(id: number, name: string, value: unknown): void {
    let payload: Uint8Array;
    try {
      payload = packBounded(name, value);
    } catch (error) {
      this.#sendFailure(id, name, error);
      return;
    }
    this.#send(FRAME.reply, id, payload);
  }

  #sendFailure(id: number, name: string, error: unknown): void {
    this.#logFault("A call's handler", name, error);
    this.#send(FRAME.failure, id, packValue(describeFailure(error)));
  }

  #send(type: FrameType, id: number, payload: Uint8Array): void {
    const { outbox, breakOff } = this.#options;
    outbox.message(type, id, payload);
    // The peer asked for all this; one that takes none of it would fill the memory.
    if (outbox.backlogBytes > 2 * linkBacklogBytesMax) breakOff("it does not read its answers");
  }

  #logFault(who: string, name: string, error: unknown): void {
    if (isExpected(error)) return;
    const stack = error instanceof Error ? error.stack : String(error);
    const fields = { name, peer: this.#caller.address, error: stack };
    this.#options.answerer.log.error(`${who} failed`, fields);
  }
}

function notServing(name: string): RingstowError {
  return new RingstowError("Unavailable", `Cannot answer "${name}": the node does not serve yet`);
}

function readNamed(payload: unknown): [name: string, value: unknown] {
  if (!Array.isArray(payload) || payload.length !== 2 || typeof payload[0] !== "string")
    throw new FrameError("Cannot read a request: it is no pair of name and value");
  return payload as [string, unknown];
}
