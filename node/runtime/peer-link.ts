// The Transport port for real: one TLS connection a pair of nodes, multiplexed, dialled at the first call and again
// at the first call after it broke. A connection that the peer dialled is used in both directions.
import { once } from "node:events";
import { type AddressInfo, type Socket } from "node:net";
import { type TLSSocket } from "node:tls";
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import { linksMax } from "../../shared/limits.ts";
import {
  type Log,
  type Peer,
  type PeerHandlers,
  type PeerStream,
  type Transport,
  TransportError,
} from "../ports.ts";
import { messageOf } from "./frame-values.ts";
import { Connection, type LinkOwner } from "./peer-link-connection.ts";
import { type HostPort, dialTls, parseHostPort, tlsServer } from "./peer-link-tls.ts";

export interface PeerLinkOptions {
  /** Where to listen; port 0 takes a free one. */
  readonly listen: HostPort;
  /** host:port at which peers reach this node; port 0 stands for the one that is listened on. */
  readonly advertise: string;
  /** Own address to call peers from; undefined: the system chooses. */
  readonly from?: string | undefined;
  readonly id: NodeId;
  /** 32 bytes that all nodes of the cluster share. */
  readonly secret: Uint8Array;
  readonly protocolVersion: number;
  readonly log: Log;
}

export type PeerLinkTransport = Transport & {
  /** What peers call: `advertise`, with the port filled in. */
  readonly address: string;
};

/** Resolves when it listens. Rejects when the port is taken. */
export async function openPeerLink(options: PeerLinkOptions): Promise<PeerLinkTransport> {
  const link = new PeerLink(options);
  await link.listen();
  return link;
}

class PeerLink implements Transport, LinkOwner {
  readonly id: NodeId;
  readonly protocolVersion: number;
  readonly log: Log;
  address: string;
  handlers: PeerHandlers | undefined;
  readonly #options: PeerLinkOptions;
  readonly #server: ReturnType<typeof tlsServer>;
  /** The connection that calls to an address take. */
  readonly #links = new Map<string, Connection>();
  readonly #connections = new Set<Connection>();
  /** Sockets of the listener, those within the handshake too. */
  readonly #accepted = new Set<Socket>();
  /** Why the last connection to an address failed. */
  readonly #complaints = new Map<string, string>();
  #closed = false;

  constructor(options: PeerLinkOptions) {
    this.#options = options;
    this.id = options.id;
    this.protocolVersion = options.protocolVersion;
    this.log = options.log;
    this.address = options.advertise;
    this.#server = tlsServer(options, this.#accept, (reason, socket) => {
      this.log.warn("Refused a peer", { from: socket.remoteAddress, reason });
    });
    this.#server.maxConnections = linksMax;
    this.#server.on("connection", (socket: Socket) => {
      this.#accepted.add(socket);
      socket.once("close", () => this.#accepted.delete(socket));
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(this.#options.listen);
    try {
      await once(this.#server, "listening"); // rejects at "error"
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const reason = code === "EADDRINUSE" ? "the port is taken by another process" : message;
      const { host, port } = this.#options.listen;
      throw new RingstowError("Unavailable", `Cannot listen on ${host}:${port}: ${reason}`);
    }
    this.#server.on("error", (error) => {
      this.log.error("The peer link's listener failed", { error: error.message });
    });
    const { port } = this.#server.address() as AddressInfo;
    this.address = this.address.replace(/:0$/u, `:${port}`);
  }

  call(peer: Peer, name: string, request: unknown, timeoutMs: number): Promise<unknown> {
    try {
      return this.#connectionTo(peer).call(name, request, peer.id, timeoutMs);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  open(peer: Peer, name: string, header: unknown, timeoutMs: number): Promise<PeerStream> {
    try {
      return this.#connectionTo(peer).open(name, header, peer.id, timeoutMs);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  serve(handlers: PeerHandlers): void {
    this.handlers = handlers;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    await Promise.all([...this.#connections].map((connection) => connection.close()));
    for (const socket of this.#accepted) socket.destroy();
    await closed;
  }

  ready(connection: Connection): void {
    const address = connection.peer!.address;
    if (connection.dialled !== undefined) this.#complaints.delete(connection.dialled);
    // Both may have dialled at once; then each side keeps its own.
    if (connection.dialled === undefined && !this.#links.has(address))
      this.#links.set(address, connection);
    this.log.info("Peer link is up", {
      peer: connection.peer!.id,
      address,
      dialled: connection.dialled !== undefined,
    });
  }

  gone(connection: Connection, reason: string | undefined): void {
    this.#connections.delete(connection);
    const address = connection.dialled ?? connection.peer?.address;
    if (address !== undefined && this.#links.get(address) === connection)
      this.#links.delete(address);
    if (reason === undefined) return;
    const fields = { peer: connection.peer?.id, address, reason };
    if (connection.peer) this.log.info("Peer link is down", fields);
    else if (connection.connected) this.#complain(fields);
  }

  /** A host that is down is its callers' news; one that is up and refuses points to a wrong setting: said once. */
  #complain(fields: { address: string | undefined; reason: string }): void {
    const address = fields.address ?? "";
    if (this.#complaints.get(address) === fields.reason) return;
    if (this.#complaints.size >= linksMax) this.#complaints.clear();
    this.#complaints.set(address, fields.reason);
    this.log.warn("No peer link came about", fields);
  }

  #connectionTo(peer: Peer): Connection {
    if (this.#closed)
      throw new TransportError("closed", "Cannot call: this node's peer link was closed");
    const { address } = peer;
    const known = this.#links.get(address);
    // A peer that dialled may advertise an address that is another's: then only dialling tells.
    const impostor =
      known?.dialled === undefined && peer.id !== undefined && known?.peer?.id !== peer.id;
    if (known && !impostor) return known;
    let to: HostPort;
    try {
      to = parseHostPort(address);
    } catch (error) {
      throw new TransportError("unreachable", messageOf(error));
    }
    const connection = new Connection(
      this,
      dialTls(to, this.#options, this.#options.from),
      address,
    );
    this.#connections.add(connection);
    this.#links.set(address, connection);
    return connection;
  }

  #accept = (socket: TLSSocket): void => {
    if (this.#closed) {
      socket.destroy();
      return;
    }
    this.#connections.add(new Connection(this, socket, undefined));
  };
}
