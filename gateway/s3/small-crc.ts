// CRCs of small bodies (XML up to 2 MiB) in plain JavaScript, the same on every runtime. Bodies of objects are
// checked by the nodes. Parameters: the CRC catalogue's CRC-32/ISO-HDLC, CRC-32/ISCSI and CRC-64/NVME.

/** 4 bytes, big-endian. */
export const crc32 = (bytes: Uint8Array): Uint8Array => reflected(bytes, 0xedb88320n, 4);
/** 4 bytes, big-endian. */
export const crc32c = (bytes: Uint8Array): Uint8Array => reflected(bytes, 0x82f63b78n, 4);
/** 8 bytes, big-endian. */
export const crc64nvme = (bytes: Uint8Array): Uint8Array =>
  reflected(bytes, 0x9a6c9329ac4bc9b5n, 8);

/** A reflected CRC that begins with all ones and is inverted at the end; held in two halves of 32 bits. */
function reflected(bytes: Uint8Array, polynomial: bigint, width: 4 | 8): Uint8Array {
  const table = tableOf(polynomial);
  let high = width === 8 ? 0xffffffff : 0;
  let low = 0xffffffff;
  for (const byte of bytes) {
    const at = 2 * ((low ^ byte) & 0xff);
    low = ((low >>> 8) | (high << 24)) ^ table[at]!;
    high = (high >>> 8) ^ table[at + 1]!;
  }
  const result = new DataView(new ArrayBuffer(width));
  result.setUint32(width - 4, ~low >>> 0);
  if (width === 8) result.setUint32(0, ~high >>> 0);
  return new Uint8Array(result.buffer);
}

const tables = new Map<bigint, Uint32Array>(); // one for each of the three polynomials above

/** For each byte the low half, then the high half. */
function tableOf(polynomial: bigint): Uint32Array {
  const known = tables.get(polynomial);
  if (known) return known;
  const table = new Uint32Array(512);
  for (let byte = 0; byte < 256; byte++) {
    let value = BigInt(byte);
    for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ polynomial : value >> 1n;
    table[2 * byte] = Number(value & 0xffffffffn);
    table[2 * byte + 1] = Number(value >> 32n);
  }
  tables.set(polynomial, table);
  return table;
}
