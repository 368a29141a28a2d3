/** The largest batch whose plan fits a budget. */

/** The memory that a batch needs, or why it cannot run. */
export type Need = { readonly bytes: number } | { readonly refused: string };

export interface LargestBatch {
  /** The largest batch found to fit; 0 if not even 1 does. */
  readonly batch: number;
  /** The smallest batch found not to fit; absent if `most` fits. */
  readonly tooMany?: number;
  /** Why it does not fit. */
  readonly because?: string;
  /** Number of plans made. */
  readonly plans: number;
}

export interface BatchSearch {
  /** The memory that a batch needs, by its plan. */
  readonly need: (batch: number) => Need;
  readonly budget: number;
  /** Maximum batch of the search. */
  readonly most: number;
  /** Maximum number of plans, after which `batch` and `tooMany` may not be adjacent. Default 24. */
  readonly plans?: number;
}

/**
 * Searches between a batch that fits and one that does not, by linear interpolation, or bisection if that makes little
 * progress. Exact if the two end adjacent, as memory grows with the batch, or nearly so.
 */
export function largestBatch({ need, budget, most, plans: limit = 24 }: BatchSearch): LargestBatch {
  const known = new Map<number, Need>();
  const at = (batch: number): Need => {
    const found = known.get(batch) ?? need(batch);
    known.set(batch, found);
    return found;
  };
  const fits = (batch: number): boolean => {
    const needed = at(batch);
    return "bytes" in needed && needed.bytes <= budget;
  };
  let [low, high] = firstThatFails(fits, most);
  if (high > most) return { batch: most, plans: known.size };
  for (let turn = 0; high - low > 1 && known.size < limit; turn++) {
    const next = turn % 3 === 2 ? Math.floor((low + high) / 2) : onLine(low, at(low), high, at(high), budget);
    if (fits(next)) low = next;
    else high = next;
  }
  const failed = at(high);
  return { batch: low, tooMany: high, because: "refused" in failed ? failed.refused : "memory", plans: known.size };
}

/** Among 1, 4, 16 ... and finally `most`: the last that fits, and the next, which does not; above `most` if all fit. */
function firstThatFails(fits: (batch: number) => boolean, most: number): [low: number, high: number] {
  let low = 0;
  for (let batch = 1; ; batch = Math.min(most, 4 * batch)) {
    if (!fits(batch)) return [low, batch];
    if (batch === most) return [most, most + 1];
    low = batch;
  }
}

/** Where the line through two plans meets the budget, strictly between them; their middle if one has no bytes. */
function onLine(low: number, a: Need, high: number, b: Need, budget: number): number {
  const middle = Math.floor((low + high) / 2);
  if (!("bytes" in a) || !("bytes" in b) || b.bytes <= a.bytes) return middle;
  const met = Math.floor(low + ((high - low) * (budget - a.bytes)) / (b.bytes - a.bytes));
  return Math.min(high - 1, Math.max(low + 1, met));
}
