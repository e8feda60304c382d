// TLS 1.2 with a pre-shared key: both sides prove that they know the peer secret, no certificates. The key's name
// tells the protocol version, so nodes of different versions do not even get to hello. (RFC 4279, RFC 5487)
import { type Socket } from "node:net";
import { type TLSSocket, type TlsOptions, connect, createServer } from "node:tls";
import { linkDialTimeoutMs } from "../../shared/limits.ts";

// Measured as the fastest of OpenSSL's PSK ciphers that are authenticated and forward secret.
const COMMON = {
  ciphers: "DHE-PSK-AES256-GCM-SHA384",
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.2",
} as const;

export interface Secret {
  /** 32 bytes. */
  readonly secret: Uint8Array;
  readonly protocolVersion: number;
}

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Name of the key, seen by both sides in the clear. */
export function pskIdentity(protocolVersion: number): string {
  return `ringstow/${protocolVersion}`;
}

/** "host:port", "[::1]:port". Throws TypeError. */
export function parseHostPort(address: string): HostPort {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/u.exec(address);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) throw new TypeError(`Cannot read an address from "${address}"`);
  return { host: (match[1] ?? match[2])!, port };
}

/** @param from own address to call from; undefined: the system chooses */
export function dialTls(
  to: HostPort,
  { secret, protocolVersion }: Secret,
  from?: string,
): TLSSocket {
  const socket = connect({
    ...COMMON,
    ...to,
    ...(from === undefined ? {} : { localAddress: from }),
    pskCallback: () => ({ psk: secret, identity: pskIdentity(protocolVersion) }),
    checkServerIdentity: () => undefined, // there is no certificate: the key is the identity
  });
  socket.setNoDelay(true);
  return socket;
}

/** `refuse` hears of connections that failed before TLS was up. */
export function tlsServer(
  { secret, protocolVersion }: Secret,
  accept: (socket: TLSSocket) => void,
  refuse: (reason: string, socket: Socket) => void,
): ReturnType<typeof createServer> {
  const identity = pskIdentity(protocolVersion);
  const others = new WeakMap<Socket, string>();
  const options: TlsOptions = {
    ...COMMON,
    dhparam: "auto",
    noDelay: true,
    handshakeTimeout: linkDialTimeoutMs,
    pskCallback: (socket, name) => {
      if (name === identity) return secret;
      others.set(socket, name);
      return null;
    },
  };
  const server = createServer(options, accept);
  server.on("tlsClientError", (error, socket) => {
    const other = others.get(socket);
    const reason =
      other === undefined
        ? `${error.message} (does it have this cluster's secret?)`
        : `it speaks "${other}", this node "${identity}"`;
    refuse(reason, socket);
    socket.destroy();
  });
  return server;
}
