/** The largest batch whose plan fits a budget. */

/** The memory that a batch takes, or why it cannot run and, if that is a budget, the least memory that it can take. */
export type Need = { readonly bytes: number } | { readonly refused: string; readonly least?: number };

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
 * Searches between a batch that fits and one that does not, where a line through these, or through the last two that do
 * not fit, meets the budget, or in the middle if that makes little progress. Exact if the two end adjacent, as memory
 * grows with the batch, or nearly so.
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
  const meets = (a: number, b: number) => onLine(a, at(a), b, at(b), budget);
  let [low, high] = firstThatFails(fits, meets, most);
  if (high > most) return { batch: most, plans: known.size };
  let above = high;
  for (let turn = 0; high - low > 1 && known.size < limit; turn++) {
    const met = turn % 3 === 2 ? undefined : (meets(low, high) ?? meets(high, above));
    const next = Math.min(high - 1, Math.max(low + 1, met ?? middle(low, high)));
    if (fits(next)) low = next;
    else [high, above] = [next, high];
  }
  const failed = at(high);
  return { batch: low, tooMany: high, because: "refused" in failed ? failed.refused : "memory", plans: known.size };
}

/**
 * From 1 up to `most`: the last that fits, and the next, which does not; above `most` if all fit. After 1 and 4 where
 * the line through the last two meets the budget, twice, since memory often grows in a straight line and that finds the
 * neighbours; then four times as many again, as a plan that keeps a budget takes nearly all of it.
 */
function firstThatFails(
  fits: (batch: number) => boolean,
  meets: (a: number, b: number) => number | undefined,
  most: number,
): [low: number, high: number] {
  let [before, low] = [0, 0];
  for (let [turn, batch] = [0, 1]; ; turn++) {
    if (!fits(batch)) return [low, batch];
    if (batch === most) return [most, most + 1];
    [before, low] = [low, batch];
    const met = turn % 3 === 0 ? undefined : meets(before, low);
    batch = Math.min(most, Math.max(low + 1, met ?? 4 * low));
  }
}

/**
 * Where the line through two plans, or the least of two that keep no budget, meets the budget; undefined if there is
 * none that rises.
 */
function onLine(low: number, a: Need, high: number, b: Need, budget: number): number | undefined {
  if ("refused" in a !== "refused" in b) return undefined; // a plan that keeps a budget takes nearly all of it
  const [from, to] = [bytesOf(a), bytesOf(b)];
  if (from === undefined || to === undefined || to <= from) return undefined;
  return Math.floor(low + ((high - low) * (budget - from)) / (to - from));
}

const bytesOf = (need: Need): number | undefined => ("refused" in need ? need.least : need.bytes);

/** Between batches that are far apart, as many times the one as the other is of it. */
const middle = (low: number, high: number): number =>
  Math.floor(high > 4 * low && low > 0 ? Math.sqrt(low * high) : (low + high) / 2);
