/** Perceptual hashes: pictures that look alike differ in few bits, whatever their size, format or compression. */
import { decodeGrey, type ImageSource } from "../images.ts";

/** 64 bits as two unsigned halves. */
export interface Hash {
  readonly high: number;
  readonly low: number;
}

const side = 32;
const kept = 8;

/**
 * The DCT hash of a picture (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", section 3.2.1):
 * of the 32 x 32 grey picture the 8 x 8 lowest frequencies, each 1 where it is above their median. A mirrored or turned
 * picture has another hash, and all pictures of one colour have the same. FileError when the picture cannot be read.
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

/** Frequencies of a flat picture are 0 but for rounding, which must not choose bits. */
const flat = 1e-6;

const cosines = Array.from({ length: kept }, (_, u) =>
  Float64Array.from({ length: side }, (_, x) => Math.cos((Math.PI * u * (2 * x + 1)) / (2 * side))),
);

/** The first 8 values of the DCT-II. */
const lowFrequencies = (line: ArrayLike<number>): number[] =>
  cosines.map((wave) => wave.reduce((sum, cosine, x) => sum + cosine * line[x]!, 0));

/** How many bits differ, 0 to 64. */
export const distance = (a: Hash, b: Hash): number => ones(a.high ^ b.high) + ones(a.low ^ b.low);

function ones(word: number): number {
  let n = word - ((word >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return Math.imul((n + (n >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
