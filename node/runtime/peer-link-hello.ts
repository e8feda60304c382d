// The first frame each way on a connection: who speaks, where it is reached, which protocol. The TLS key's name tells
// the version before; hello repeats it so that no frame is read by the wrong rules.
import { type NodeId, parseNodeId } from "../../shared/ids.ts";
import { packValue, unpackValue } from "./frame-values.ts";
import { FRAME, FrameError } from "./frame.ts";
import { type Frame } from "./peer-link-outbox.ts";

export interface Speaker {
  readonly id: NodeId;
  /** host:port at which peers reach it. */
  readonly address: string;
  readonly protocolVersion: number;
}

export function helloFrame({ id, address, protocolVersion }: Speaker): Frame {
  return {
    type: FRAME.hello,
    id: 0,
    payload: packValue({ version: protocolVersion, id, address }),
  };
}

/** Throws when it is no hello, or of another version than `own` speaks. */
export function readHello(
  own: Speaker,
  source: Uint8Array,
  start: number,
  end: number,
): { id: NodeId; address: string } {
  const hello = unpackValue(source, start, end);
  if (typeof hello !== "object" || hello === null) throw new FrameError("Cannot read hello");
  const { version, id, address } = hello as Record<string, unknown>;
  const { protocolVersion } = own;
  if (version !== protocolVersion) {
    const text = `Cannot speak protocol ${String(version)}: this node speaks ${protocolVersion}`;
    throw new FrameError(text);
  }
  if (typeof id !== "string" || typeof address !== "string")
    throw new FrameError("Cannot read hello: id or address is missing");
  return { id: parseNodeId(id), address };
}
