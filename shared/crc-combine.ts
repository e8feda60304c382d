// The CRC of two byte strings joined, from their own CRCs and the second one's length, without the bytes: a CRC is a
// remainder of polynomials over GF(2), so appending n bytes multiplies it by x^(8n). Source: zlib's crc32_combine.
// Holds for every CRC whose start value and final mask are equal, as those of S3 are.

export type CrcAlgorithm = "crc32" | "crc32c" | "crc64nvme";

interface Field {
  /** Bits. */
  readonly width: number;
  /** Reflected: the highest bit stands for x^0. */
  readonly polynomial: bigint;
  /** x^(2^k) at k. */
  readonly powers: readonly bigint[];
}

const FIELDS: Readonly<Record<CrcAlgorithm, Field>> = {
  crc32: field(32, 0xedb88320n),
  crc32c: field(32, 0x82f63b78n),
  crc64nvme: field(64, 0x9a6c9329ac4bc9b5n),
};

export function isCrc(algorithm: string): algorithm is CrcAlgorithm {
  return Object.hasOwn(FIELDS, algorithm);
}

/** The CRC of all pieces in their order. `size` in bytes; no piece: the CRC of nothing, 0. */
export function combineCrcs(
  algorithm: CrcAlgorithm,
  pieces: readonly { readonly crc: bigint; readonly size: number }[],
): bigint {
  const of = FIELDS[algorithm];
  // Parts of one upload have nearly always one size, and the shift costs far more than the step.
  const shifts = new Map<number, bigint>();
  let all = 0n;
  for (const { crc, size } of pieces) {
    let shift = shifts.get(size);
    if (shift === undefined) {
      shift = shiftBy(of, size);
      shifts.set(size, shift);
    }
    all = multiply(of, shift, all) ^ crc;
  }
  return all;
}

function field(width: number, polynomial: bigint): Field {
  const of = { width, polynomial };
  const powers = [1n << BigInt(width - 2)];
  // Lengths below 2^53 bytes are below 2^56 bits.
  for (let k = 1; k < 57; k++) powers.push(multiply(of, powers[k - 1]!, powers[k - 1]!));
  return { ...of, powers };
}

/** x^(8 * bytes). */
function shiftBy(of: Field, bytes: number): bigint {
  let product = 1n << BigInt(of.width - 1);
  let left = bytes;
  for (let k = 3; left > 0; k++) {
    if (left % 2 === 1) product = multiply(of, of.powers[k]!, product);
    left = Math.floor(left / 2);
  }
  return product;
}

function multiply(of: Pick<Field, "width" | "polynomial">, a: bigint, b: bigint): bigint {
  let product = 0n;
  let shifted = b;
  for (let bit = 1n << BigInt(of.width - 1); bit > 0n; bit >>= 1n) {
    if (a & bit) product ^= shifted;
    shifted = shifted & 1n ? (shifted >> 1n) ^ of.polynomial : shifted >> 1n;
  }
  return product;
}
