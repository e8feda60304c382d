// Nearest node for a client (the paper's section 3.2, step 6): geography when both sides have it, else the
// longest common IP prefix, then the zone, then the load. One pure function for the gateway and the index.
import ipaddr from "ipaddr.js";

export interface Position {
  /** Degrees. */
  readonly latitude: number;
  readonly longitude: number;
}

export interface Place {
  readonly ip?: string | undefined;
  readonly position?: Position | undefined;
  readonly zone?: string | undefined;
}

export interface Candidate extends Place {
  /** Requests under way, or any other measure: the smaller wins. */
  readonly load: number;
}

/** Great-circle distance in kilometres. */
export function distanceKm(a: Position, b: Position): number {
  const rad = Math.PI / 180;
  const dLat = (b.latitude - a.latitude) * rad;
  const dLon = (b.longitude - a.longitude) * rad;
  const h =
    Math.sin(dLat / 2) ** 2 +
    Math.cos(a.latitude * rad) * Math.cos(b.latitude * rad) * Math.sin(dLon / 2) ** 2;
  return 12_742 * Math.asin(Math.min(1, Math.sqrt(h)));
}

/** Leading bits that two addresses share, as 128-bit addresses; 0 when one is missing or no address. */
export function commonPrefixBits(a: string | undefined, b: string | undefined): number {
  const x = addressBytes(a);
  const y = addressBytes(b);
  if (!x || !y) return 0;
  for (let i = 0; i < 16; i++) {
    const difference = x[i]! ^ y[i]!;
    if (difference !== 0) return i * 8 + Math.clz32(difference) - 24;
  }
  return 128;
}

function addressBytes(text: string | undefined): number[] | undefined {
  if (text === undefined || !ipaddr.isValid(text)) return undefined;
  const address = ipaddr.parse(text);
  return address.kind() === "ipv4"
    ? (address as ipaddr.IPv4).toIPv4MappedAddress().toByteArray()
    : address.toByteArray();
}

/** A candidate's distance, measured once; `km` is 0 for all when geography does not count. */
interface Ranked<T> {
  readonly candidate: T;
  readonly km: number;
  readonly bits: number;
  readonly sameZone: boolean;
}

function compareRanked(a: Ranked<Candidate>, b: Ranked<Candidate>): number {
  if (a.km !== b.km) return a.km - b.km;
  if (a.bits !== b.bits) return b.bits - a.bits;
  if (a.sameZone !== b.sameZone) return a.sameZone ? -1 : 1;
  return a.candidate.load - b.candidate.load;
}

function rank<T extends Candidate>(client: Place, candidates: readonly T[]): Ranked<T>[] {
  // Kilometres count only when they can be compared between all: a mix with prefix bits has cycles.
  const from = client.position;
  const byPosition = from !== undefined && candidates.every(({ position }) => position);
  return candidates
    .map((candidate) => ({
      candidate,
      km: byPosition ? distanceKm(from, candidate.position!) : 0,
      bits: commonPrefixBits(client.ip, candidate.ip),
      sameZone: client.zone !== undefined && client.zone === candidate.zone,
    }))
    .toSorted(compareRanked);
}

/**
 * The candidates, nearest first: by distance when the client and every candidate have a position, then by longest
 * common IP prefix, zone and load. Equal ones keep their order (so callers put the preferred ones first).
 */
export function nearest<T extends Candidate>(client: Place, candidates: readonly T[]): T[] {
  return rank(client, candidates).map(({ candidate }) => candidate);
}

/** The same in groups of equally near candidates. */
export function nearestGroups<T extends Candidate>(client: Place, candidates: readonly T[]): T[][] {
  const groups: T[][] = [];
  let previous: Ranked<T> | undefined;
  for (const ranked of rank(client, candidates)) {
    if (previous && compareRanked(previous, ranked) === 0) groups.at(-1)!.push(ranked.candidate);
    else groups.push([ranked.candidate]);
    previous = ranked;
  }
  return groups;
}
