// Rows of the member table on the wire: whole rows for what a node says of itself, standings for what happened to it.
import type * as z from "zod/mini";
import { type FolderId, fromHex, type NodeId, toHex } from "../../shared/ids.ts";
import { type wireRowSchema, type wireStandingSchema } from "../../shared/protocol/route.ts";
import { type MemberRow } from "./table-part.ts";
import { type MemberState } from "./types.ts";

export type WireRow = z.infer<typeof wireRowSchema>;
export type WireStanding = z.infer<typeof wireStandingSchema>;

const STATES: readonly MemberState[] = ["alive", "suspect", "dead", "left"];

/** What a standing says. */
export interface Standing {
  readonly id: NodeId;
  readonly incarnation: number;
  readonly state: MemberState;
  readonly sinceMs: number;
  /** Of a suspect: who found it so, by witnessOf(). */
  readonly witnesses: readonly number[];
}

export function rowToWire(row: MemberRow): WireRow {
  const { position } = row;
  return [
    fromHex(row.id),
    fromHex(row.folder),
    row.url,
    row.peerAddress,
    row.zone,
    position ? [position.latitude, position.longitude] : null,
    row.capacityBytes,
    row.freeBytes,
    row.incarnation,
    STATES.indexOf(row.state),
    Math.max(0, Math.floor(row.sinceMs / 1000)),
    row.stamp,
  ];
}

export function rowFromWire(wire: WireRow): MemberRow {
  const [id, folder, url, peerAddress, zone, position, ...rest] = wire;
  const [capacityBytes, freeBytes, incarnation, state, since, stamp] = rest;
  return {
    id: toHex(id) as NodeId,
    folder: toHex(folder) as FolderId,
    url,
    peerAddress,
    zone,
    position: position ? { latitude: position[0], longitude: position[1] } : undefined,
    capacityBytes,
    freeBytes,
    incarnation,
    state: STATES[state]!,
    sinceMs: since * 1000,
    stamp,
  };
}

export function standingToWire(row: MemberRow, witnesses: readonly number[]): WireStanding {
  const since = Math.max(0, Math.floor(row.sinceMs / 1000));
  return [fromHex(row.id), row.incarnation, STATES.indexOf(row.state), since, [...witnesses]];
}

export function standingFromWire(wire: WireStanding): Standing {
  const [id, incarnation, state, since, witnesses] = wire;
  return {
    id: toHex(id) as NodeId,
    incarnation,
    state: STATES[state]!,
    sinceMs: since * 1000,
    witnesses,
  };
}

/** The short name of a node that finds another unreachable; two that share it count as one. */
export function witnessOf(id: NodeId): number {
  return Number.parseInt(id.slice(0, 8), 16);
}
