// Typed calls over the Transport port: names, requests and replies by the protocol table.
import { CALLS, type CallName, type ReplyOf, type RequestOf } from "../shared/protocol.ts";
import { RingstowError } from "../shared/errors.ts";
import {
  type Caller,
  type Peer,
  type PeerHandlers,
  type PeerStream,
  type Transport,
} from "./ports.ts";

export type CallHandler<N extends CallName> = (
  request: RequestOf<N>,
  caller: Caller,
) => Promise<ReplyOf<N>> | ReplyOf<N>;
export type StreamHandler = (header: unknown, stream: PeerStream, caller: Caller) => Promise<void>;

/** Calls to peers, and the handlers with which this node answers theirs. */
export class Peers {
  readonly #transport: Transport;
  readonly #calls = new Map<string, (request: never, caller: Caller) => unknown>();
  readonly #streams = new Map<string, StreamHandler>();

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Throws TransportError when no answer came, RingstowError when the peer refused. */
  async call<N extends CallName>(
    peer: Peer,
    name: N,
    request: RequestOf<N>,
    timeoutMs: number,
  ): Promise<ReplyOf<N>> {
    return (await this.#transport.call(peer, name, request, timeoutMs)) as ReplyOf<N>;
  }

  open(peer: Peer, name: string, header: unknown, timeoutMs: number): Promise<PeerStream> {
    return this.#transport.open(peer, name, header, timeoutMs);
  }

  onCall<N extends CallName>(name: N, handler: CallHandler<N>): void {
    this.#calls.set(name, handler);
  }

  onStream(name: string, handler: StreamHandler): void {
    this.#streams.set(name, handler);
  }

  /** What the transport serves: requests are checked by their schema before a handler sees them. */
  handlers(): PeerHandlers {
    return {
      call: async (name, request, caller) => {
        const handler = this.#calls.get(name);
        if (!handler)
          throw new RingstowError("InvalidRequest", `Cannot answer call "${name}": unknown`);
        const parsed = CALLS[name as CallName].request.safeParse(request);
        if (!parsed.success) {
          throw new RingstowError(
            "InvalidRequest",
            `Cannot read call "${name}": ${parsed.error.message}`,
          );
        }
        return handler(parsed.data as never, caller);
      },
      stream: async (name, header, stream, caller) => {
        const handler = this.#streams.get(name);
        if (!handler)
          throw new RingstowError("InvalidRequest", `Cannot serve stream "${name}": unknown`);
        await handler(header, stream, caller);
      },
    };
  }
}
