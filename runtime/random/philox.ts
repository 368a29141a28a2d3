/**
 * The counter-based generator behind all random numbers: Philox4x32-10. A block of four 32-bit words is a function of a
 * 128-bit counter and a 64-bit key, which gives random access to any number.
 * Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3.
 */

/** Four words for counters and blocks, two for keys. */
export type Words = Uint32Array;

const roundMultiplier0 = 0xd2511f53;
const roundMultiplier1 = 0xcd9e8d57;
/** The golden ratio and the square root of 3, less 1, as 32-bit fractions (Weyl sequence of the keys). */
const keyStep0 = 0x9e3779b9;
const keyStep1 = 0xbb67ae85;
const rounds = 10;

/** Writes the block of a counter and key to `out`, four words from `at` on. */
export function philox4x32(counter: Words, key: Words, out: Words, at = 0): void {
  let c0 = counter[0]!;
  let c1 = counter[1]!;
  let c2 = counter[2]!;
  let c3 = counter[3]!;
  let k0 = key[0]!;
  let k1 = key[1]!;
  for (let round = 0; round < rounds; round++) {
    const high0 = multiplyHigh(c0, roundMultiplier0);
    const high1 = multiplyHigh(c2, roundMultiplier1);
    const low0 = Math.imul(c0, roundMultiplier0);
    const low1 = Math.imul(c2, roundMultiplier1);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + keyStep0) | 0;
    k1 = (k1 + keyStep1) | 0;
  }
  out[at] = c0;
  out[at + 1] = c1;
  out[at + 2] = c2;
  out[at + 3] = c3;
}

/**
 * Writes the blocks of consecutive counters to `out`, incrementing the first word of `counter`; `out` holds an even
 * number of blocks. Two blocks are interleaved, for instruction-level parallelism across the multiplications' latency.
 */
export function philoxBlocks(counter: Words, key: Words, out: Words): void {
  // Signed 32-bit integers only, and no destructuring: this is the hot loop of all random numbers.
  const first = counter[0]! | 0;
  const c1 = counter[1]! | 0;
  const c2 = counter[2]! | 0;
  const c3 = counter[3]! | 0;
  for (let at = 0; at < out.length; at += 8) {
    let a0 = (first + (at >> 2)) | 0;
    let b0 = (a0 + 1) | 0;
    let a1 = c1;
    let b1 = c1;
    let a2 = c2;
    let b2 = c2;
    let a3 = c3;
    let b3 = c3;
    let k0 = key[0]! | 0;
    let k1 = key[1]! | 0;
    for (let round = 0; round < rounds; round++) {
      const aHigh0 = multiplyHigh(a0, roundMultiplier0);
      const aHigh1 = multiplyHigh(a2, roundMultiplier1);
      const bHigh0 = multiplyHigh(b0, roundMultiplier0);
      const bHigh1 = multiplyHigh(b2, roundMultiplier1);
      const aLow0 = Math.imul(a0, roundMultiplier0);
      const bLow0 = Math.imul(b0, roundMultiplier0);
      a0 = aHigh1 ^ a1 ^ k0;
      b0 = bHigh1 ^ b1 ^ k0;
      a1 = Math.imul(a2, roundMultiplier1);
      b1 = Math.imul(b2, roundMultiplier1);
      a2 = aHigh0 ^ a3 ^ k1;
      b2 = bHigh0 ^ b3 ^ k1;
      a3 = aLow0;
      b3 = bLow0;
      k0 = (k0 + keyStep0) | 0;
      k1 = (k1 + keyStep1) | 0;
    }
    out[at] = a0;
    out[at + 1] = a1;
    out[at + 2] = a2;
    out[at + 3] = a3;
    out[at + 4] = b0;
    out[at + 5] = b1;
    out[at + 6] = b2;
    out[at + 7] = b3;
  }
}

/** The upper 32 bits of a 64-bit product, from 16-bit halves; every partial sum that is shifted fits in 32 bits. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = Math.imul(aHigh, bLow);
  const carry = (Math.imul(aLow, bLow) >>> 16) + (middle & 0xffff); // below 2^17 - 1
  const cross = (Math.imul(aLow, bHigh) + carry) | 0; // at most (2^16 - 1)^2 + 2^17 - 2 = 2^32 - 1
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (cross >>> 16)) | 0;
}
