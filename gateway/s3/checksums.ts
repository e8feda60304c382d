// Checksums as S3 names them: in headers, in XML, in lists. Values are base64; a composite one ends in "-<parts>".
// Source: S3 user guide, "Checking object integrity in Amazon S3".
import {
  type Checksum,
  type ChecksumAlgorithm,
  type UploadChecksum,
} from "../../shared/records.ts";
import { S3Error } from "./errors.ts";
import { type XmlNode } from "./xml-read.ts";
import { type XmlElement } from "./xml-write.ts";
import { type RequestHeaders } from "../request-headers.ts";

/** S3's name of each algorithm, and how many bytes its values have. */
const KINDS = {
  crc32: { name: "CRC32", bytes: 4 },
  crc32c: { name: "CRC32C", bytes: 4 },
  crc64nvme: { name: "CRC64NVME", bytes: 8 },
  sha1: { name: "SHA1", bytes: 20 },
  sha256: { name: "SHA256", bytes: 32 },
} as const satisfies Record<ChecksumAlgorithm, { name: string; bytes: number }>;

const ALGORITHMS = Object.keys(KINDS) as ChecksumAlgorithm[];
const PREFIX = "x-amz-checksum-";
/** Headers with the prefix that carry no value. */
const NOT_VALUES = new Set(["mode", "type", "algorithm"]);
const TYPES = { full: "FULL_OBJECT", composite: "COMPOSITE" } as const;

export interface DeclaredChecksum {
  readonly algorithm: ChecksumAlgorithm;
  /** Base64. */
  readonly value: string;
}

/** An algorithm by S3's name, in any case; undefined when there is none of that name. */
export function algorithmNamed(name: string): ChecksumAlgorithm | undefined {
  const lower = name.trim().toLowerCase();
  return ALGORITHMS.find((algorithm) => algorithm === lower);
}

/** The algorithm that a header or trailer "x-amz-checksum-..." carries. */
export function algorithmOfHeader(header: string): ChecksumAlgorithm | undefined {
  return header.startsWith(PREFIX) ? algorithmNamed(header.slice(PREFIX.length)) : undefined;
}

/**
 * The one x-amz-checksum-<algorithm> header of a request; undefined without one. Throws InvalidRequest.
 * @param composite a "-<parts>" may follow the value
 */
export function declaredChecksum(
  headers: RequestHeaders,
  composite = false,
): DeclaredChecksum | undefined {
  let found: DeclaredChecksum | undefined;
  for (const [header, value] of headers) {
    if (!header.startsWith(PREFIX) || NOT_VALUES.has(header.slice(PREFIX.length))) continue;
    const algorithm = algorithmOfHeader(header);
    if (algorithm === undefined) {
      throw new S3Error("NotImplemented", `The header ${header} is not supported`, {
        Header: header,
      });
    }
    if (found) {
      throw new S3Error("InvalidRequest", "Expecting a single x-amz-checksum- header");
    }
    const digest = composite ? value.replace(/-\d{1,5}$/u, "") : value;
    if (!isChecksumValue(algorithm, digest)) {
      throw new S3Error("InvalidRequest", `Value for ${header} header is invalid.`);
    }
    found = { algorithm, value };
  }
  return found;
}

/** Whether a text is base64 of as many bytes as the algorithm gives. */
export function isChecksumValue(algorithm: ChecksumAlgorithm, text: string): boolean {
  if (!/^[A-Za-z0-9+/]+={0,2}$/u.test(text) || text.length % 4 !== 0) return false;
  const bytes = atob(text);
  // The last digit's spare bits must be zero: one value has one spelling.
  return bytes.length === KINDS[algorithm].bytes && btoa(bytes) === text;
}

/** Names the checksum of an answer in its headers. */
export function checksumHeaders(checksum: Checksum | undefined, headers: Headers): void {
  if (!checksum) return;
  headers.set(PREFIX + checksum.algorithm, checksum.value);
  headers.set(`${PREFIX}type`, TYPES[checksum.type]);
}

/** The same as elements of XML: the value, and whether it is of the whole object. */
export function checksumElements(checksum: Checksum | undefined): readonly XmlElement[] {
  if (!checksum) return [];
  return [
    [elementOf(checksum.algorithm), checksum.value],
    ["ChecksumType", TYPES[checksum.type]],
  ];
}

/** The value alone, as in lists of parts. */
export function checksumValueElements(checksum: Checksum | undefined): readonly XmlElement[] {
  return checksum ? [[elementOf(checksum.algorithm), checksum.value]] : [];
}

/** How lists name the kind of a checksum without its value. */
export function checksumKindElements(checksum: UploadChecksum | undefined): readonly XmlElement[] {
  if (!checksum) return [];
  return [
    ["ChecksumAlgorithm", KINDS[checksum.algorithm].name],
    ["ChecksumType", TYPES[checksum.type]],
  ];
}

/** What an answer to CreateMultipartUpload says of checksums to come. */
export function uploadChecksumHeaders(
  checksum: UploadChecksum | undefined,
  headers: Headers,
): void {
  if (!checksum) return;
  headers.set(`${PREFIX}algorithm`, KINDS[checksum.algorithm].name);
  headers.set(`${PREFIX}type`, TYPES[checksum.type]);
}

/** The Checksum* child of a part in the list of Complete. Throws InvalidRequest for a damaged one. */
export function partChecksum(part: XmlNode): DeclaredChecksum | undefined {
  let found: DeclaredChecksum | undefined;
  for (const algorithm of ALGORITHMS) {
    const value = part.value(elementOf(algorithm))?.trim();
    if (value === undefined || value === "") continue;
    if (found) throw new S3Error("MalformedXML", "A Part may have one checksum");
    if (!isChecksumValue(algorithm, value)) {
      throw new S3Error("InvalidRequest", `Value for ${elementOf(algorithm)} is invalid.`);
    }
    found = { algorithm, value };
  }
  return found;
}

/** What CreateMultipartUpload asks of checksums. Throws InvalidRequest for what S3 has not. */
export function uploadChecksum(headers: RequestHeaders): UploadChecksum | undefined {
  const name = headers.get(`${PREFIX}algorithm`);
  const type = checksumType(headers);
  if (name === null) {
    if (type === undefined) return undefined;
    throw new S3Error(
      "InvalidRequest",
      "The x-amz-checksum-type header needs the x-amz-checksum-algorithm header",
    );
  }
  const algorithm = algorithmNamed(name);
  if (algorithm === undefined) {
    throw new S3Error(
      "InvalidRequest",
      "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
    );
  }
  const chosen = type ?? (algorithm === "crc64nvme" ? "full" : "composite");
  const impossible =
    (algorithm === "crc64nvme" && chosen === "composite") ||
    ((algorithm === "sha1" || algorithm === "sha256") && chosen === "full");
  if (impossible) {
    throw new S3Error(
      "InvalidRequest",
      `The ${TYPES[chosen]} checksum type cannot be used with the ${KINDS[algorithm].name} checksum algorithm`,
    );
  }
  return { algorithm, type: chosen };
}

/** x-amz-checksum-type; undefined when it is not there. Throws InvalidRequest. */
export function checksumType(headers: RequestHeaders): UploadChecksum["type"] | undefined {
  switch (headers.get(`${PREFIX}type`)?.toUpperCase()) {
    case undefined:
      return undefined;
    case "FULL_OBJECT":
      return "full";
    case "COMPOSITE":
      return "composite";
    default:
      throw new S3Error("InvalidRequest", "Value for x-amz-checksum-type header is invalid.");
  }
}

function elementOf(algorithm: ChecksumAlgorithm): string {
  return `Checksum${KINDS[algorithm].name}`;
}
