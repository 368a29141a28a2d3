/** The CRC-32 of a byte sequence from the CRCs of its pieces, as zlib's crc32_combine computes it. */

type Matrix = readonly number[];

const times = (matrix: Matrix, vector: number): number => {
  let sum = 0;
  for (let i = 0, rest = vector; rest !== 0; i++, rest >>>= 1) if (rest & 1) sum ^= matrix[i]!;
  return sum >>> 0;
};
const square = (matrix: Matrix): number[] => matrix.map((row) => times(matrix, row));

/** The effect of one appended zero bit on a CRC, as a matrix over GF(2): zlib's polynomial, and a shift. */
const zeroBit: Matrix = [0xedb88320, ...Array.from({ length: 31 }, (_, i) => (1 << i) >>> 0)];
const zeroByte = square(square(square(zeroBit)));

/** A byte sequence known only by its CRC and length. */
export interface Summed {
  readonly crc32: number;
  readonly bytes: number;
}

/**
 * The CRC of the concatenation: the CRC of `first` extended by as many zero bytes as `second` has, XOR the CRC of
 * `second`.
 */
export function combined(first: Summed, second: Summed): Summed {
  let crc = first.crc32;
  let zeros: Matrix = zeroByte;
  for (let left = second.bytes; left > 0; left = Math.floor(left / 2), zeros = square(zeros))
    if (left % 2 === 1) crc = times(zeros, crc);
  return { crc32: (crc ^ second.crc32) >>> 0, bytes: first.bytes + second.bytes };
}

export const nothingSummed: Summed = { crc32: 0, bytes: 0 };
