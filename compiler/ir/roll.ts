/**
 * Rerolls repeated statements into loops for printing: 48 layers, forward or backward, become one body. Candidates are
 * found by the shape of statements, and kept only if every hole of the body follows a rule: the same value in all
 * iterations, the value of iteration a·i + b of this or an earlier loop, a number that grows by a constant, or a listed
 * literal. A loop is verified by expanding it again (`roll-fit.ts`); otherwise its statements are printed unrolled.
 */
import { fitLoop, type Loop, type Place, type Sequence, type Span } from "./roll-fit.ts";
import { holesOf, type Item, shapeOf } from "./text/item.ts";
import { findRuns, iterationsOf, leastSaved, type Run } from "./text/runs.ts";

export type Block = { readonly kind: "item"; readonly item: Item } | Loop;

export interface Rolled {
  readonly blocks: readonly Block[];
  readonly places: ReadonlyMap<Item, Place>;
}

/** The statements in order, with repetitions rolled into loops. */
export function roll(items: readonly Item[]): Rolled {
  const position = new Map(items.map((item, i) => [item, i]));
  const s: Sequence = { items, position, places: new Map(), aliases: new Map() };
  const blocks: Block[] = [];
  let at = 0;
  for (const run of findRuns(shapeIds(items))) {
    const { start, period, count } = rotated(s, run);
    pushItems(s, blocks, at, start);
    pushRolled(s, blocks, start, period, count);
    at = start + period * count;
  }
  pushItems(s, blocks, at, items.length);
  return { blocks, places: s.places };
}

function shapeIds(items: readonly Item[]): number[] {
  const ids = new Map<string, number>();
  return items.map((item) => {
    const shape = shapeOf(item);
    let id = ids.get(shape);
    if (id === undefined) ids.set(shape, (id = ids.size));
    return id;
  });
}

function pushItems(s: Sequence, blocks: Block[], from: number, to: number): void {
  for (let i = from; i < to; i++) blocks.push({ kind: "item", item: s.items[i]! });
}

/**
 * Chooses where in a run iterations start: where the fewest values are live across iterations, and where the numbers in
 * names change. Only starts that lose no iteration are considered.
 */
function rotated(s: Sequence, run: Run): Span {
  const { start, end, period } = run;
  const count = iterationsOf(run);
  const spare = end - start - count * period;
  const live = liveAt(s, start, end);
  const names = nameSpread(s, start, period, spare);
  const middle = period * Math.max(0, Math.floor(count / 2) - 1);
  let best = 0;
  const cost = (r: number) => live[r + middle]! + 4 * names[r]!;
  for (let r = 1; r <= spare; r++) if (cost(r) < cost(best)) best = r;
  return { start: start + best, period, count };
}

/** For each position in a run, the number of live values: defined before it in the run and used from it on. */
function liveAt(s: Sequence, start: number, end: number): number[] {
  const lastUse = new Map<number, number>();
  for (let i = start; i < end; i++) {
    for (const hole of holesOf(s.items[i]!)) {
      const from = hole.kind === "operand" ? s.position.get(hole.item)! : -1;
      if (from >= start) lastUse.set(from, i);
    }
  }
  const change = new Array<number>(end - start + 1).fill(0);
  for (const [from, to] of lastUse) {
    change[from + 1 - start]!++;
    if (to + 1 - start <= end - start) change[to + 1 - start]!--;
  }
  let total = 0;
  return change.map((c) => (total += c));
}

/** For each start, how many distinct first numbers occur in the names of one iteration. */
function nameSpread(s: Sequence, start: number, period: number, spare: number): number[] {
  const first = (i: number) => holesOf(s.items[i]!).find((h) => h.kind === "counter" && h.quoted);
  const counts = new Map<number, number>();
  const add = (i: number, by: number) => {
    const hole = first(i);
    if (hole?.kind !== "counter") return;
    const left = (counts.get(hole.value) ?? 0) + by;
    if (left === 0) counts.delete(hole.value);
    else counts.set(hole.value, left);
  };
  for (let i = 0; i < period; i++) add(start + i, 1);
  return Array.from({ length: spare + 1 }, (_, r) => {
    if (r > 0) {
      add(start + r - 1, -1);
      add(start + r - 1 + period, 1);
    }
    return counts.size;
  });
}

/** Rolls as much of a span as possible: a loop around its middle, then the iterations before and after it. */
function pushRolled(s: Sequence, blocks: Block[], start: number, period: number, count: number): void {
  const worthIt = (count - 1) * period >= leastSaved;
  const fitted = worthIt ? fitLoop(s, { start, period, count }) : undefined;
  if (fitted) {
    pushRolled(s, blocks, start, period, fitted.from);
    blocks.push(fitted.loop);
    settle(s, fitted.loop, start + fitted.from * period);
    pushRolled(s, blocks, start + fitted.to * period, period, count - fitted.to);
  } else if (worthIt && count >= 4 && count % 2 === 0 && fitLoop(s, { start, period: period * 2, count: count / 2 })) {
    pushRolled(s, blocks, start, period * 2, count / 2); // two kinds of layers alternate
  } else if (worthIt && count >= 4) {
    const half = Math.floor(count / 2);
    pushRolled(s, blocks, start, period, half);
    pushRolled(s, blocks, start + half * period, period, count - half);
  } else pushItems(s, blocks, start, start + period * count);
}

/** Records the place of each statement in a new loop. */
function settle(s: Sequence, loop: Loop, start: number): void {
  const period = loop.body.length;
  for (let i = 0; i < period * loop.count; i++) {
    s.places.set(s.items[start + i]!, { loop, slot: i % period, index: Math.floor(i / period) });
  }
  for (const { slot, index, item } of loop.initial) {
    const known = s.aliases.get(item) ?? [];
    s.aliases.set(item, [...known, { loop, slot, index }]);
  }
}
