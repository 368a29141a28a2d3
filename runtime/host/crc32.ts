/** CRC-32 without zlib: RFC 1952, section 8, a byte at a time. */

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? 0xedb88320 ^ (sum >>> 1) : sum >>> 1;
  return sum;
});

/** The CRC of bytes, or of text as UTF-8, continuing from the CRC of what came before. */
export function crc32(data: Uint8Array | string, sum = 0): number {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  let now = ~sum;
  for (let i = 0; i < bytes.length; i++) now = table[(now ^ bytes[i]!) & 0xff]! ^ (now >>> 8);
  return ~now >>> 0;
}
