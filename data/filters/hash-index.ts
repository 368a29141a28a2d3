/** Nearest-neighbour search over hashes without comparing them all. */
import { distance, type Hash } from "./perceptual-hash.ts";

export interface HashIndex {
  readonly size: number;
  /** The name of the nearest hash within the distance (the first of ties); undefined if there is none. */
  readonly near: (hash: Hash) => string | undefined;
}

/**
 * Indexes hashes for distances of at most `bound` bits (0 to 15). Hashes within the bound agree in at least one of
 * `bound + 1` bands of bits, so only those that share a band are compared (Manku et al. 2007, "Detecting
 * near-duplicates for web crawling", section 3).
 */
export function hashIndex(hashes: readonly (readonly [name: string, hash: Hash])[], bound: number): HashIndex {
  const bands = bandsOf(bound + 1);
  const tables = bands.map((band) => {
    const table = new Map<number, number[]>();
    for (const [i, [, hash]] of hashes.entries()) {
      const key = bitsOf(hash, band);
      const found = table.get(key);
      if (found) found.push(i);
      else table.set(key, [i]);
    }
    return table;
  });
  return {
    size: hashes.length,
    near(hash) {
      let best: { readonly index: number; readonly away: number } | undefined;
      for (const [i, band] of bands.entries()) {
        for (const index of tables[i]!.get(bitsOf(hash, band)) ?? []) {
          const away = distance(hash, hashes[index]![1]);
          if (away > bound) continue;
          if (!best || away < best.away || (away === best.away && index < best.index)) best = { index, away };
        }
      }
      return best && hashes[best.index]![0];
    },
  };
}

interface Band {
  readonly start: number;
  readonly length: number;
}

/** Splits 64 bits into bands of about equal length. */
const bandsOf = (count: number): readonly Band[] =>
  Array.from({ length: count }, (_, i) => {
    const start = Math.floor((64 * i) / count);
    return { start, length: Math.floor((64 * (i + 1)) / count) - start };
  });

function bitsOf({ high, low }: Hash, { start, length }: Band): number {
  const bits = (BigInt(low) << 32n) | BigInt(high);
  return Number((bits >> BigInt(start)) & ((1n << BigInt(length)) - 1n));
}
