/** Seeded random numbers for data order and augmentation: the same keys give the same numbers on every machine. */

/** Draws the next number, uniform in [0, 1). */
export type Random = () => number;

/**
 * An independent random sequence for each (seed, ...keys), such as (seed, epoch, batch, row).
 * Any row can be drawn again without drawing those before it, so that a resumed run continues exactly.
 * Keys are integers in [0, 2^53). The generator is sfc32 (Chris Doty-Humphrey, PractRand 0.95).
 */
export function seededRandom(seed: number, ...keys: readonly number[]): Random {
  let a = fold(0x9e3779b9, seed, keys);
  let b = fold(0x243f6a88, seed, keys);
  let c = fold(0xb7e15162, seed, keys);
  let counter = 1;
  const next32 = () => {
    const out = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + out) | 0;
    return out >>> 0;
  };
  for (let i = 0; i < 12; i += 1) next32(); // PractRand's own warm-up: keys that differ in one bit diverge
  return () => ((next32() >>> 5) * 0x4000000 + (next32() >>> 6)) / 0x20000000000000;
}

/** A Fisher-Yates permutation of 0 .. length - 1. */
export function shuffled(length: number, random: Random): Uint32Array {
  const order = Uint32Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    const held = order[i]!;
    order[i] = order[j]!;
    order[j] = held;
  }
  return order;
}

/** A uniformly random choice; `choices` must not be empty. */
export const pick = <T>(random: Random, choices: readonly T[]): T => choices[Math.floor(random() * choices.length)]!;

const fold = (start: number, seed: number, keys: readonly number[]) =>
  [seed, ...keys].reduce((state, key) => mix(mix(state, key >>> 0), Math.floor(key / 0x100000000)), start | 0);

/** One round of murmur3 with its finalizer (Austin Appleby, MurmurHash3_x86_32). */
function mix(state: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  let h = state ^ k;
  h = Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) | 0;
}
