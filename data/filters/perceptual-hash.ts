/** Perceptual hashes: similar images differ in few bits, whatever their size, format or compression. */
import { decodeGrey, type ImageSource } from "../images.ts";

/** 64 bits as two unsigned 32-bit halves. */
export interface Hash {
  readonly high: number;
  readonly low: number;
}

const side = 32;
const kept = 8;

/**
 * The DCT hash of an image (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", section
 * 3.2.1): the 8 x 8 lowest frequencies of the 32 x 32 grey image, each 1 if above their median. Flipping or rotating
 * changes the hash; all images of a single colour have the same one. FileError when the image cannot be read.
 */
export async function perceptualHash(source: ImageSource): Promise<Hash> {
  return hashOfGrey(await decodeGrey(source, side));
}

/** The hash of 32 x 32 grey values [row, column]. */
export function hashOfGrey(grey: Uint8Array): Hash {
  const rows = Array.from({ length: side }, (_, row) => lowFrequencies(grey.subarray(row * side, (row + 1) * side)));
  const frequencies = Array.from({ length: kept }, (_, u) => lowFrequencies(rows.map((row) => row[u]!))).flat();
  const sorted = [...frequencies].sort((a, b) => a - b);
  const median = (sorted[31]! + sorted[32]!) / 2;
  let [high, low] = [0, 0];
  for (const [bit, value] of frequencies.entries()) {
    if (value <= median + flat) continue;
    if (bit < 32) high |= 1 << bit;
    else low |= 1 << (bit - 32);
  }
  return { high: high >>> 0, low: low >>> 0 };
}

/** The frequencies of a flat image are 0 except for rounding errors, which must not set bits. */
const flat = 1e-6;

const cosines = Array.from({ length: kept }, (_, u) =>
  Float64Array.from({ length: side }, (_, x) => Math.cos((Math.PI * u * (2 * x + 1)) / (2 * side))),
);

/** The first 8 DCT-II coefficients. */
const lowFrequencies = (line: ArrayLike<number>): number[] =>
  cosines.map((wave) => wave.reduce((sum, cosine, x) => sum + cosine * line[x]!, 0));

/** The Hamming distance, 0 to 64. */
export const distance = (a: Hash, b: Hash): number => ones(a.high ^ b.high) + ones(a.low ^ b.low);

function ones(word: number): number {
  let n = word - ((word >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return Math.imul((n + (n >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
