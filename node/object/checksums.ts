// Checksums as S3 writes them: base64 of the big-endian bytes; a composite one is the hash of its parts' raw bytes,
// with "-<parts>" behind. Source: "Checking object integrity in Amazon S3".
import { type CrcAlgorithm, combineCrcs, isCrc } from "../../shared/crc-combine.ts";
import { RingstowError } from "../../shared/errors.ts";
import { fromHex, toHex } from "../../shared/ids.ts";
import {
  type Checksum,
  type ChecksumAlgorithm,
  type PartRef,
  type UploadChecksum,
  checksumAlgorithmSchema,
} from "../../shared/records.ts";
import { type Digest } from "../ports.ts";

const BYTES: Readonly<Record<ChecksumAlgorithm, number>> = {
  crc32: 4,
  crc32c: 4,
  crc64nvme: 8,
  sha1: 20,
  sha256: 32,
};
const PREFIX = "x-amz-checksum-";

/** The algorithm whose checksum a trailer of this lower-case name carries. */
export function findAlgorithm(trailer: string): ChecksumAlgorithm | undefined {
  if (!trailer.startsWith(PREFIX)) return undefined;
  return checksumAlgorithmSchema.safeParse(trailer.slice(PREFIX.length)).data;
}

/** The trailer of an algorithm's checksum. */
export function trailerOf(algorithm: ChecksumAlgorithm): string {
  return PREFIX + algorithm;
}

/** Throws InvalidRequest unless the value is base64 of as many bytes as the algorithm's checksums have. */
export function checkShape(algorithm: ChecksumAlgorithm, value: string): void {
  const shape = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/u;
  if (shape.test(value) && atob(value).length === BYTES[algorithm]) return;
  throw new RingstowError(
    "InvalidRequest",
    `Value for ${trailerOf(algorithm)} is invalid: it is no base64 of ${BYTES[algorithm]} bytes`,
  );
}

export function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/** Throws InvalidRequest for what S3 does not offer: CRC-64/NVME is never composite, a SHA never full. */
export function checkUploadChecksum({ algorithm, type }: UploadChecksum): void {
  const offered = type === "full" ? isCrc(algorithm) : algorithm !== "crc64nvme";
  if (offered) return;
  throw new RingstowError(
    "InvalidRequest",
    `Cannot create the upload: ${algorithm} checksums cannot be ${type}`,
  );
}

/**
 * A finished upload's checksum, made from those of its parts without reading a byte. Undefined when a part has none
 * of the algorithm.
 */
export function checksumOfParts(
  digest: Digest,
  { algorithm, type }: UploadChecksum,
  parts: readonly PartRef[],
): Checksum | undefined {
  const pieces: { raw: Uint8Array; size: number }[] = [];
  for (const { checksum, size } of parts) {
    if (checksum === undefined) return undefined;
    pieces.push({ raw: fromBase64(checksum), size });
  }
  if (type === "full") {
    return isCrc(algorithm) ? { algorithm, type, value: combined(algorithm, pieces) } : undefined;
  }
  const hasher = digest.start(algorithm);
  for (const { raw } of pieces) hasher.update(raw);
  return { algorithm, type, value: `${toBase64(hasher.digest())}-${parts.length}` };
}

function combined(
  algorithm: CrcAlgorithm,
  pieces: readonly { raw: Uint8Array; size: number }[],
): string {
  const crcs = pieces.map(({ raw, size }) => ({ crc: BigInt(`0x${toHex(raw)}`), size }));
  const digits = 2 * BYTES[algorithm];
  return toBase64(fromHex(combineCrcs(algorithm, crcs).toString(16).padStart(digits, "0")));
}

function fromBase64(value: string): Uint8Array {
  return Uint8Array.from(atob(value), (character) => character.charCodeAt(0));
}
