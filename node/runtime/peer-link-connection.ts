// One connection of the peer link: hello both ways, then calls and streams in both directions until it breaks.
// Whatever breaks it, every call and stream on it fails at once, and nothing is ever sent again elsewhere.
import { type TLSSocket } from "node:tls";
import { freeChunk } from "../../shared/chunk-memory.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import {
  callsInFlightMax,
  linkBacklogBytesMax,
  linkCloseMs,
  linkDialTimeoutMs,
  linkSilentMs,
  streamsPerLinkMax,
} from "../../shared/limits.ts";
import { type Caller, type PeerStream, TransportError } from "../ports.ts";
import { failureFrom, messageOf, packBounded, plainView, unpackValue } from "./frame-values.ts";
import { FRAME, FrameError, FrameParser, type FrameType, readUint32 } from "./frame.ts";
import { type Answerer, Answering } from "./peer-link-answering.ts";
import { Answers } from "./peer-link-answers.ts";
import { helloFrame, readHello, type Speaker } from "./peer-link-hello.ts";
import { Outbox } from "./peer-link-outbox.ts";
import { Pulse } from "./peer-link-pulse.ts";
import { LinkStreams } from "./peer-link-streams.ts";

/** What a connection knows of its node. */
export interface LinkOwner extends Answerer, Speaker {
  /** Hello came: `connection.peer` is known. */
  ready(connection: Connection): void;
  /** Said once. `reason` is undefined when this node closed it. */
  gone(connection: Connection, reason: string | undefined): void;
}

const callIdEnd = 0x1_0000_0000;

export class Connection {
  /** Whether the other host took the connection at all. */
  connected: boolean;
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
  #answering: Answering | undefined;
  /** Payloads that wait for hello. */
  #unsentBytes = 0;
  readonly #pulse = new Pulse();
  #ended = false;
  #helloTimer: NodeJS.Timeout;
  #socketClosed = Promise.withResolvers<void>();

  constructor(owner: LinkOwner, socket: TLSSocket, dialled: string | undefined) {
    this.#owner = owner;
    this.#socket = socket;
    this.dialled = dialled;
    this.connected = dialled === undefined;
    socket.once("connect", () => {
      this.connected = true;
    });
    this.#outbox = new Outbox(socket);
    this.#streams = new LinkStreams(this.#outbox, dialled !== undefined);
    const parser = new FrameParser(this.#onFrame);
    socket.on("data", (piece) => {
      this.#pulse.heard();
      try {
        if (!this.#ended) parser.push(plainView(piece));
      } catch (error) {
        this.breakOff(`it sent what cannot be read: ${messageOf(error)}`);
      }
      freeChunk(piece); // the parser has copied what outlives it
    });
    // Node closes a TLS socket only for errors of the handshake: after a record that failed its check, or an alert of
    // the peer about one, it stays open and silent.
    socket.on("error", (error) => this.breakOff(error.message || String(error)));
    socket.on("end", () => this.breakOff("the peer closed the connection"));
    socket.on("close", () => {
      this.breakOff("the connection was closed");
      this.#socketClosed.resolve();
    });
    this.#helloTimer = setTimeout(() => this.breakOff("no hello in time"), linkDialTimeoutMs);
    this.#helloTimer.unref();
    const hello = helloFrame(owner);
    if (dialled === undefined) this.#outbox.start(hello);
    else socket.once("secureConnect", () => this.#outbox.start(hello));
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
    this.#pulse.asked();
    const id = this.#takeCallId();
    const ready = this.peer !== undefined;
    if (ready) this.#outbox.message(FRAME.request, id, payload);
    else this.#unsentBytes += payload.length;
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
    this.#pulse.asked();
    let id = this.#streams.takeId();
    while (this.#opens.has(id)) id = this.#streams.takeId();
    const ready = this.peer !== undefined;
    if (ready) this.#sendOpen(id, payload);
    else this.#unsentBytes += payload.length;
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
    const backlogBytes = this.#outbox.backlogBytes + this.#unsentBytes;
    if (waiting < most && backlogBytes < linkBacklogBytesMax) return undefined;
    this.#breakIfSilent();
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
    if (this.peer && this.#pulse.silent) this.breakOff(`nothing was heard for ${linkSilentMs} ms`);
  }

  // -------------------------------------------------------------- frames that come in

  #onFrame = (
    type: FrameType,
    id: number,
    source: Uint8Array,
    start: number,
    end: number,
    owned: boolean,
  ): void => {
    if (this.#ended) return;
    if (!this.peer) return this.#onHello(type, source, start, end);
    switch (type) {
      case FRAME.hello:
        throw new FrameError("Cannot take a second hello");
      case FRAME.request:
        return this.#answering?.onRequest(id, unpackValue(source, start, end));
      case FRAME.reply:
        return this.#onReply(id, unpackValue(source, start, end));
      case FRAME.failure:
        return this.#onFailure(id, unpackValue(source, start, end));
      case FRAME.open:
        return this.#answering?.onOpen(id, unpackValue(source, start, end));
      case FRAME.accept:
        return this.#onAccept(id);
      case FRAME.chunk:
        return this.#streams.onChunk(id, source, start, end, owned);
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

  // The payload is read before the call is taken out: unreadable bytes break the link, and with it the call.
  #onReply(id: number, reply: unknown): void {
    this.#calls.take(id)?.resolve(reply);
  }

  #onFailure(id: number, description: unknown): void {
    this.#calls.take(id)?.reject(failureFrom(description));
  }

  #onHello(type: FrameType, source: Uint8Array, start: number, end: number): void {
    if (type !== FRAME.hello) throw new FrameError(`Cannot take frame ${type} before hello`);
    this.peer = readHello(this.#owner, source, start, end);
    this.#answering = new Answering(
      {
        answerer: this.#owner,
        outbox: this.#outbox,
        streams: this.#streams,
        breakOff: (reason) => this.breakOff(reason),
      },
      this.peer,
    );
    clearTimeout(this.#helloTimer);
    this.#owner.ready(this);
    this.#unsentBytes = 0;
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

  #sendOpen(id: number, payload: Uint8Array): void {
    this.#streams.create(id);
    this.#outbox.message(FRAME.open, id, payload);
  }

  #onAccept(id: number): void {
    const stream = this.#streams.find(id);
    if (stream) this.#opens.take(id)?.resolve(stream);
  }
}
