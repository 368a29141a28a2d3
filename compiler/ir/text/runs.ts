/**
 * Finds repetitions in a sequence: runs in which every element equals the one `period` positions later. Time is linear
 * in the length of the sequence times a constant number of candidate periods.
 */

export interface Run {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  readonly period: number;
}

/** A loop must save at least this many lines to be easier to read than the unrolled statements. */
export const leastSaved = 8;

/** Window lengths used to find candidate periods. */
const windows = [1, 2, 4, 8, 16, 32];
/** Periods tried for each window length: the most frequent distances. */
const periodsPerWindow = 12;

/** Non-overlapping runs, chosen greedily by lines saved; sorted by start. */
export function findRuns(sequence: readonly number[]): Run[] {
  const candidates = candidatePeriods(sequence).flatMap((period) => stretches(sequence, period));
  candidates.sort((a, b) => saved(b) - saved(a) || a.period - b.period || a.start - b.start);
  const taken = new Uint8Array(sequence.length);
  const chosen: Run[] = [];
  for (const candidate of candidates) {
    const run = freePart(candidate, taken);
    if (!run || saved(run) < leastSaved) continue;
    taken.fill(1, run.start, run.end);
    chosen.push(run);
  }
  return chosen.sort((a, b) => a.start - b.start);
}

export const iterationsOf = (run: Run): number => Math.floor((run.end - run.start) / run.period);

const saved = (run: Run): number => (iterationsOf(run) - 1) * run.period;

/** The most frequent distances between equal windows. */
function candidatePeriods(sequence: readonly number[]): number[] {
  const found = new Set<number>();
  let ids = [...sequence];
  for (const length of windows) {
    if (length > 1) ids = twiceAsLong(ids, length / 2);
    const counts = new Map<number, number>();
    const last = new Map<number, number>();
    ids.forEach((id, at) => {
      const before = last.get(id);
      if (before !== undefined) counts.set(at - before, (counts.get(at - before) ?? 0) + 1);
      last.set(id, at);
    });
    const ranked = [...counts].sort((a, b) => b[1] * b[0] - a[1] * a[0] || a[0] - b[0]);
    for (const [period] of ranked.slice(0, periodsPerWindow)) found.add(period);
  }
  return [...found].sort((a, b) => a - b);
}

/** Ids of windows twice as long (prefix doubling). */
function twiceAsLong(ids: readonly number[], half: number): number[] {
  const pairs = new Map<string, number>();
  return Array.from({ length: Math.max(0, ids.length - half) }, (_, i) => {
    const key = `${ids[i]},${ids[i + half]}`;
    let id = pairs.get(key);
    if (id === undefined) pairs.set(key, (id = pairs.size));
    return id;
  });
}

/** The runs with this period that are long enough to be worth a loop. */
function stretches(sequence: readonly number[], period: number): Run[] {
  const runs: Run[] = [];
  let start = 0;
  for (let i = 0; i <= sequence.length - period; i++) {
    if (i < sequence.length - period && sequence[i] === sequence[i + period]) continue;
    if (i - start >= period) runs.push({ start, end: i + period, period });
    start = i + 1;
  }
  return runs.filter((r) => saved(r) >= leastSaved);
}

/** The longest part of a run that is not taken yet. */
function freePart(run: Run, taken: Uint8Array): Run | undefined {
  let best: Run | undefined;
  let start = run.start;
  for (let i = run.start; i <= run.end; i++) {
    if (i < run.end && !taken[i]) continue;
    if (i - start > (best ? best.end - best.start : 0)) best = { start, end: i, period: run.period };
    start = i + 1;
  }
  return best;
}
