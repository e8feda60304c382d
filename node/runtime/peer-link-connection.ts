// One connection of the peer link: hello both ways, then calls and streams in both directions until it breaks.
// Whatever breaks it, every call and stream on it fails at once, and nothing is ever sent again elsewhere.
import { type TLSSocket } from "node:tls";
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId, parseNodeId } from "../../shared/ids.ts";
import {
  callsInFlightMax,
  linkBacklogBytesMax,
  linkCloseMs,
  linkDialTimeoutMs,
  linkSilentMs,
  streamsPerLinkMax,
} from "../../shared/limits.ts";
import {
  type Caller,
  type Log,
  type PeerHandlers,
  type PeerStream,
  TransportError,
} from "../ports.ts";
import {
  describeFailure,
  failureFrom,
  isExpected,
  messageOf,
  packBounded,
} from "./frame-values.ts";
import { packValue, plainView, unpackValue } from "./frame-values.ts";
import { FRAME, FrameError, FrameParser, type FrameType, readUint32 } from "./frame.ts";
import { Answers } from "./peer-link-answers.ts";
import { Outbox } from "./peer-link-outbox.ts";
import { type WindowedStream } from "./peer-link-stream.ts";
import { LinkStreams, serveStream } from "./peer-link-streams.ts";

/** What a connection knows of its node. */
export interface LinkOwner {
  readonly id: NodeId;
  readonly address: string;
  readonly protocolVersion: number;
  readonly log: Log;
  readonly handlers: PeerHandlers | undefined;
  /** Hello came: `connection.peer` is known. */
  ready(connection: Connection): void;
  /** Said once. `reason` is undefined when this node closed it. */
  gone(connection: Connection, reason: string | undefined): void;
}

const callIdEnd = 0x1_0000_0000;

export class Connection {
  /** Address that was dialled; undefined for one that the peer dialled. */
  readonly dialled: string | undefined;
  /** Who is at the other end, when hello has come. */
  peer: Caller | undefined;
  readonly #owner: LinkOwner;
  readonly #socket: TLSSocket;
  readonly #outbox: Outbox;
  readonly #streams: LinkStreams;
  readonly #calls = new Answers<unknown>(() => this.#breakIfSilent());
  readonly #opens = new Answers<PeerStream>((waiting) => {
    this.#streams.find(waiting.id)?.reset("the opener waits no more");
    this.#breakIfSilent();
  });
  #nextCallId = 0;
  #answering = 0;
  #heardAtMs = 0;
  #ended = false;
  #helloTimer: NodeJS.Timeout;
  #socketClosed = Promise.withResolvers<void>();

  constructor(owner: LinkOwner, socket: TLSSocket, dialled: string | undefined) {
    this.#owner = owner;
    this.#socket = socket;
    this.dialled = dialled;
    this.#outbox = new Outbox(socket);
    this.#streams = new LinkStreams(this.#outbox, dialled !== undefined);
    const parser = new FrameParser(this.#onFrame);
    let failure: string | undefined;
    socket.on("data", (piece) => {
      this.#heardAtMs = performance.now();
      try {
        if (!this.#ended) parser.push(plainView(piece));
      } catch (error) {
        this.breakOff(`it sent what cannot be read: ${messageOf(error)}`);
      }
    });
    socket.on("error", (error) => {
      failure = error.message || String(error);
    });
    socket.on("end", () => this.breakOff("the peer closed the connection"));
    socket.on("close", () => {
      this.breakOff(failure ?? "the connection was closed");
      this.#socketClosed.resolve();
    });
    this.#helloTimer = setTimeout(() => this.breakOff("no hello in time"), linkDialTimeoutMs);
    this.#helloTimer.unref();
    if (dialled === undefined) this.#sayHello();
    else socket.once("secureConnect", () => this.#sayHello());
  }

  get broken(): boolean {
    return this.#ended;
  }

  /** Rejects as Transport.call does. */
  call(
    name: string,
    request: unknown,
    expected: NodeId | undefined,
    timeoutMs: number,
  ): Promise<unknown> {
    const refusal = this.#refusal(name, expected, this.#calls.size, callsInFlightMax);
    if (refusal) return Promise.reject(refusal);
    let payload: Uint8Array;
    try {
      payload = packBounded(name, [name, request]);
    } catch (error) {
      return Promise.reject(error);
    }
    const id = this.#takeCallId();
    const ready = this.peer !== undefined;
    if (ready) this.#outbox.message(FRAME.request, id, payload);
    return this.#calls.wait(id, name, expected, timeoutMs, ready ? undefined : payload);
  }

  /** Rejects as Transport.open does. */
  open(
    name: string,
    header: unknown,
    expected: NodeId | undefined,
    timeoutMs: number,
  ): Promise<PeerStream> {
    const streams = this.#streams.size + this.#opens.size;
    const refusal = this.#refusal(name, expected, streams, streamsPerLinkMax);
    if (refusal) return Promise.reject(refusal);
    let payload: Uint8Array;
    try {
      payload = packBounded(name, [name, header]);
    } catch (error) {
      return Promise.reject(error);
    }
    let id = this.#streams.takeId();
    while (this.#opens.has(id)) id = this.#streams.takeId();
    const ready = this.peer !== undefined;
    if (ready) this.#sendOpen(id, payload);
    return this.#opens.wait(id, name, expected, timeoutMs, ready ? undefined : payload);
  }

  /** Ends the connection because something is wrong with it. Idempotent. */
  breakOff(reason: string): void {
    if (this.#ended) return;
    this.#owner.gone(this, reason);
    const failure = this.peer ? "closed" : "unreachable";
    const where = this.peer?.address ?? this.dialled ?? "a peer";
    this.#fail(new TransportError(failure, `Cannot reach "${where}": ${reason}`));
    this.#outbox.stop();
    this.#socket.destroy();
  }

  /** Lets what is written leave, then closes. Resolves when the socket is closed. */
  async close(): Promise<void> {
    if (!this.#ended) {
      this.#owner.gone(this, undefined);
      this.#outbox.flush();
      this.#fail(new TransportError("closed", "Cannot go on: this node's peer link was closed"));
      this.#outbox.stop();
      if (this.peer) this.#socket.end();
      else this.#socket.destroy();
    }
    const late = setTimeout(() => this.#socket.destroy(), linkCloseMs);
    await this.#socketClosed.promise;
    clearTimeout(late);
  }

  #fail(error: TransportError): void {
    this.#ended = true;
    clearTimeout(this.#helloTimer);
    this.#calls.failAll(error);
    this.#opens.failAll(error);
    this.#streams.failAll((stream) => stream.fail(error));
  }

  #sayHello(): void {
    const { id, address, protocolVersion } = this.#owner;
    const payload = packValue({ version: protocolVersion, id, address });
    this.#outbox.start({ type: FRAME.hello, id: 0, payload });
  }

  #refusal(
    name: string,
    expected: NodeId | undefined,
    waiting: number,
    most: number,
  ): Error | undefined {
    if (this.#ended)
      return new TransportError("closed", `Cannot get "${name}": the link is closed`);
    if (expected !== undefined && this.peer && this.peer.id !== expected)
      return this.#wrongPeer(expected);
    if (waiting < most && this.#outbox.backlogBytes < linkBacklogBytesMax) return undefined;
    return new RingstowError("SlowDown", `Cannot get "${name}": too much waits for this peer`);
  }

  #wrongPeer(expected: NodeId): TransportError {
    const text = `Cannot reach node ${expected} at "${this.dialled}": ${this.peer?.id} answers there`;
    return new TransportError("unreachable", text);
  }

  #takeCallId(): number {
    do this.#nextCallId = (this.#nextCallId + 1) % callIdEnd;
    while (this.#calls.has(this.#nextCallId));
    return this.#nextCallId;
  }

  /** A peer that vanished without a word: a new connection finds it sooner than TCP gives this one up. */
  #breakIfSilent(): void {
    if (this.peer && performance.now() - this.#heardAtMs > linkSilentMs)
      this.breakOff(`nothing was heard for ${linkSilentMs} ms`);
  }

  // -------------------------------------------------------------- frames that come in

  #onFrame = (
    type: FrameType,
    id: number,
    source: Uint8Array,
    start: number,
    end: number,
  ): void => {
    if (this.#ended) return;
    if (!this.peer) return this.#onHello(type, source, start, end);
    switch (type) {
      case FRAME.hello:
        throw new FrameError("Cannot take a second hello");
      case FRAME.request:
        return this.#onRequest(id, unpackValue(source, start, end));
      case FRAME.reply:
        return this.#calls.take(id)?.resolve(unpackValue(source, start, end));
      case FRAME.failure:
        return this.#calls.take(id)?.reject(failureFrom(unpackValue(source, start, end)));
      case FRAME.open:
        return this.#onOpen(id, unpackValue(source, start, end));
      case FRAME.accept:
        return this.#onAccept(id);
      case FRAME.chunk:
        return this.#streams.onChunk(id, source, start, end);
      case FRAME.end:
        return this.#streams.find(id)?.onEnd();
      case FRAME.credit:
        if (end - start !== 4) throw new FrameError("Cannot read a credit: it has not 4 bytes");
        return this.#streams.find(id)?.onCredit(readUint32(source, start));
      case FRAME.reset:
        this.#streams.onReset(id, source, start, end);
        this.#opens.take(id)?.reject(new TransportError("closed", "Cannot open: the peer refused"));
    }
  };

  #onHello(type: FrameType, source: Uint8Array, start: number, end: number): void {
    if (type !== FRAME.hello) throw new FrameError(`Cannot take frame ${type} before hello`);
    const { version, id, address } = unpackValue(source, start, end) as Record<string, unknown>;
    const own = this.#owner.protocolVersion;
    if (version !== own)
      throw new FrameError(`Cannot speak protocol ${String(version)}: this node speaks ${own}`);
    if (typeof id !== "string" || typeof address !== "string")
      throw new FrameError("Cannot read hello: id or address is missing");
    this.peer = { id: parseNodeId(id), address };
    clearTimeout(this.#helloTimer);
    this.#owner.ready(this);
    this.#sendUnsent(this.#calls, (callId, payload) =>
      this.#outbox.message(FRAME.request, callId, payload),
    );
    this.#sendUnsent(this.#opens, (streamId, payload) => this.#sendOpen(streamId, payload));
  }

  /** What was asked for before hello came: now it is known whether the right node answers. */
  #sendUnsent<T>(answers: Answers<T>, send: (id: number, payload: Uint8Array) => void): void {
    for (const waiting of answers.all()) {
      const { id, expected, unsent } = waiting;
      waiting.unsent = undefined;
      if (expected !== undefined && expected !== this.peer?.id)
        answers.take(id)?.reject(this.#wrongPeer(expected));
      else if (unsent) send(id, unsent);
    }
  }

  #onRequest(id: number, payload: unknown): void {
    const [name, request] = readNamed(payload);
    const refusal =
      this.#answering >= callsInFlightMax
        ? new RingstowError("SlowDown", `Cannot answer "${name}": too many calls wait here`)
        : undefined;
    const { handlers } = this.#owner;
    if (refusal || !handlers) return this.#sendFailure(id, name, refusal ?? notServing(name));
    this.#answering++;
    let reply: Promise<unknown>;
    try {
      reply = handlers.call(name, request, this.peer!);
    } catch (error) {
      reply = Promise.reject(error);
    }
    reply.then(
      (value) => this.#sendReply(id, name, value),
      (error: unknown) => this.#sendFailure(id, name, error, true),
    );
  }

  #sendReply(id: number, name: string, value: unknown): void {
    let payload: Uint8Array;
    try {
      payload = packBounded(name, value);
    } catch (error) {
      this.#sendFailure(id, name, error, true);
      return;
    }
    this.#answering--;
    this.#sendAnswer(FRAME.reply, id, payload);
  }

  #sendFailure(id: number, name: string, error: unknown, answered = false): void {
    if (answered) this.#answering--;
    if (!isExpected(error)) this.#logFault("A call's handler failed", name, error);
    this.#sendAnswer(FRAME.failure, id, packValue(describeFailure(error)));
  }

  #sendAnswer(type: FrameType, id: number, payload: Uint8Array): void {
    if (this.#ended) return;
    this.#outbox.message(type, id, payload);
    if (this.#outbox.backlogBytes > 2 * linkBacklogBytesMax)
      this.breakOff("it does not read its answers");
  }

  #sendOpen(id: number, payload: Uint8Array): void {
    this.#streams.create(id);
    this.#outbox.message(FRAME.open, id, payload);
  }

  #onAccept(id: number): void {
    const stream = this.#streams.find(id);
    if (stream) this.#opens.take(id)?.resolve(stream);
  }

  #onOpen(id: number, payload: unknown): void {
    const [name, header] = readNamed(payload);
    if (!this.#streams.isOthersFreeId(id))
      throw new FrameError(`Cannot open stream ${id}: the id is not free`);
    const stream = this.#streams.create(id);
    if (this.#streams.size > streamsPerLinkMax) {
      stream.reset("too many streams");
      return;
    }
    this.#outbox.message(FRAME.accept, id);
    void this.#serve(name, header, stream);
  }

  #serve(name: string, header: unknown, stream: WindowedStream): Promise<void> {
    const handle = async (): Promise<void> => {
      const { handlers } = this.#owner;
      if (!handlers) throw notServing(name);
      await handlers.stream(name, header, stream, this.peer!);
    };
    return serveStream(stream, handle, (error) => {
      if (isExpected(error) || error instanceof TransportError) return;
      this.#logFault("A stream's handler failed", name, error);
    });
  }

  #logFault(event: string, name: string, error: unknown): void {
    const stack = error instanceof Error ? error.stack : String(error);
    this.#owner.log.error(event, { name, peer: this.peer?.address, error: stack });
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
