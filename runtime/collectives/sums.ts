/** Summing the ranks' tensors. */
import type { Numbers } from "./collectives.ts";

/** Elements added at a time, so that their f64 sums stay in the CPU cache. */
const block = 4096;

/** Sets `into` to the sum of `terms`, added in order: floats in f64 and rounded once, integers modulo 2^32. */
export function addUp(into: Numbers, terms: readonly Numbers[]): void {
  if (into instanceof Int32Array) addWhole(into, terms);
  else addFloats(into, terms);
}

function addFloats(into: Numbers, terms: readonly Numbers[]): void {
  const sums = new Float64Array(Math.min(block, into.length));
  for (let at = 0; at < into.length; at += block) {
    const end = Math.min(at + block, into.length);
    for (const [i, term] of terms.entries()) {
      if (i === 0) for (let k = at; k < end; k++) sums[k - at] = term[k]!;
      else for (let k = at; k < end; k++) sums[k - at]! += term[k]!;
    }
    for (let k = at; k < end; k++) into[k] = sums[k - at]!;
  }
}

function addWhole(into: Int32Array, terms: readonly Numbers[]): void {
  for (let k = 0; k < into.length; k++) {
    let sum = 0;
    for (const term of terms) sum = (sum + term[k]!) | 0;
    into[k] = sum;
  }
}
