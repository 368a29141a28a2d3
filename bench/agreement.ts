/** Compares the outputs of two contenders. */
import type { Output } from "./subject.ts";

/** The largest difference relative to the largest expected magnitude; infinite for NaN or different lengths. */
export function difference(got: Output, expected: Output): number {
  if (got.length !== expected.length) return Number.POSITIVE_INFINITY;
  let [worst, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const apart = Math.abs(got[i]! - expected[i]!);
    if (Number.isNaN(apart)) return Number.POSITIVE_INFINITY;
    worst = Math.max(worst, apart);
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return worst === 0 ? 0 : worst / largest;
}

/**
 * The largest difference over several outputs, such as the losses of successive steps, each relative to its own scale.
 */
export function largestDifference(got: readonly Output[], expected: readonly Output[]): number {
  if (got.length !== expected.length) return Number.POSITIVE_INFINITY;
  return Math.max(0, ...got.map((output, i) => difference(output, expected[i]!)));
}
