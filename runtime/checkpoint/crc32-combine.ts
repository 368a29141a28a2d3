/** The CRC-32 of bytes that were looked at in pieces, by several readers or writers. */

type Matrix = readonly number[];

const times = (matrix: Matrix, vector: number): number => {
  let sum = 0;
  for (let i = 0, rest = vector; rest !== 0; i++, rest >>>= 1) if (rest & 1) sum ^= matrix[i]!;
  return sum >>> 0;
};
const square = (matrix: Matrix): number[] => matrix.map((row) => times(matrix, row));

/** What one zero bit behind a message does to its CRC: the polynomial of zlib, and a shift. */
const zeroBit: Matrix = [0xedb88320, ...Array.from({ length: 31 }, (_, i) => (1 << i) >>> 0)];
const zeroByte = square(square(square(zeroBit)));

/** Bytes of which only the CRC and the number are known. */
export interface Summed {
  readonly crc32: number;
  readonly bytes: number;
}

/** The CRC of both, one behind the other: that of the first with as many zeros as the second has bytes, and that of the second. zlib, crc32_combine. */
export function combined(first: Summed, second: Summed): Summed {
  let crc = first.crc32;
  let zeros: Matrix = zeroByte;
  for (let left = second.bytes; left > 0; left = Math.floor(left / 2), zeros = square(zeros))
    if (left % 2 === 1) crc = times(zeros, crc);
  return { crc32: (crc ^ second.crc32) >>> 0, bytes: first.bytes + second.bytes };
}

export const nothingSummed: Summed = { crc32: 0, bytes: 0 };
