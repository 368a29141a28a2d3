/**
 * Rolls repeated statements into loops: 48 layers, forward or backward, become one body. A loop is found by its shape and
 * kept only where every hole of its body follows a rule: the same value in all iterations, a value of iteration a·i + b of
 * this or an earlier loop, a number that grows by a constant, or a listed literal.
 */
import { holesOf, type Item, shapeOf } from "./text/item.ts";
import { findRuns, iterationsOf, leastSaved, type Run } from "./text/runs.ts";

/** What stands in a hole of a loop's body, for iteration i. */
export type Pattern =
  | { readonly kind: "same"; readonly item: Item }
  /** The value of a slot of a loop at iteration scale · i + offset; `loop` is absent for the loop itself. */
  | {
      readonly kind: "member";
      readonly loop: Loop | undefined;
      readonly slot: number;
      readonly scale: number;
      readonly offset: number;
    }
  | { readonly kind: "counter"; readonly scale: number; readonly offset: number; readonly quoted: boolean }
  | { readonly kind: "literals"; readonly values: readonly number[] };

export interface Loop {
  readonly kind: "loop";
  readonly count: number;
  /** The statements of iteration 0. */
  readonly body: readonly Item[];
  /** For each statement of the body, what stands in its holes. */
  readonly patterns: readonly (readonly Pattern[])[];
  /** Values of iterations before the first. */
  readonly initial: readonly { readonly slot: number; readonly index: number; readonly item: Item }[];
}

export type Block = { readonly kind: "item"; readonly item: Item } | Loop;

/** Where a statement ended up in a loop. */
export interface Place {
  readonly loop: Loop;
  readonly slot: number;
  readonly index: number;
}

export interface Rolled {
  readonly blocks: readonly Block[];
  readonly places: ReadonlyMap<Item, Place>;
}

interface Sequence {
  readonly items: readonly Item[];
  readonly position: ReadonlyMap<Item, number>;
  readonly places: Map<Item, Place>;
  /** Other places of a value: the initial ones of loops it goes into. */
  readonly aliases: Map<Item, Place[]>;
}

/** Statements in their order, with what repeats rolled into loops. */
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

interface Span {
  readonly start: number;
  readonly period: number;
  readonly count: number;
}

/**
 * Where in a run an iteration best begins: where the fewest values go over from one to the next, and where the numbers in
 * names change. Only beginnings that lose no iteration are considered.
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

/** For each place of a run, how many values from before it within the run are used from it on. */
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

/** For each beginning, how many different first numbers the names of one iteration have. */
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

/** Rolls what can be rolled of a span: a loop around its middle, then the iterations before and after that. */
function pushRolled(s: Sequence, blocks: Block[], start: number, period: number, count: number): void {
  const worthIt = (count - 1) * period >= leastSaved;
  const fitted = worthIt ? fitLoop(s, { start, period, count }) : undefined;
  if (fitted) {
    pushRolled(s, blocks, start, period, fitted.from);
    blocks.push(fitted.loop);
    settle(s, fitted.loop, start + fitted.from * period);
    pushRolled(s, blocks, start + fitted.to * period, period, count - fitted.to);
  } else if (worthIt && count >= 4 && count % 2 === 0 && fitLoop(s, { start, period: period * 2, count: count / 2 })) {
    pushRolled(s, blocks, start, period * 2, count / 2); // two kinds of layers take turns
  } else if (worthIt && count >= 4) {
    const half = Math.floor(count / 2);
    pushRolled(s, blocks, start, period, half);
    pushRolled(s, blocks, start + half * period, period, count - half);
  } else pushItems(s, blocks, start, start + period * count);
}

/** Records where the statements of a loop are now to be found. */
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

/** A rule for a hole before the loop it belongs to is cut to size: iterations count from the span's beginning. */
type Rule =
  | { readonly kind: "same"; readonly item: Item }
  | { readonly kind: "own"; readonly slot: number; readonly scale: number; readonly offset: number }
  | {
      readonly kind: "other";
      readonly loop: Loop;
      readonly slot: number;
      readonly scale: number;
      readonly offset: number;
    }
  | { readonly kind: "counter"; readonly scale: number; readonly offset: number; readonly quoted: boolean }
  | { readonly kind: "literals" };

interface Fitted {
  readonly loop: Loop;
  /** The iterations of the span that the loop holds, the last exclusive. */
  readonly from: number;
  readonly to: number;
}

/** The longest loop around the middle of a span whose holes follow rules; undefined where it would save too little. */
function fitLoop(s: Sequence, span: Span): Fitted | undefined {
  const middle = span.count > 2 ? Math.max(2, Math.floor(span.count / 2)) : 1;
  const rules = rulesAt(s, span, middle);
  if (!rules) return undefined;
  let [from, to] = [middle - 1, middle + 1];
  while (to < span.count && follows(s, span, rules, to)) to++;
  while (from > 0 && follows(s, span, rules, from - 1)) from--;
  for (let tries = 0; tries < 3 && (to - from - 1) * span.period >= leastSaved; tries++, from++) {
    const loop = cut(s, span, rules, from, to);
    if (loop) return { loop, from, to };
  }
  return undefined;
}

const itemAt = (s: Sequence, { start, period }: Span, iteration: number, slot: number): Item =>
  s.items[start + iteration * period + slot]!;

/** The rules that lead from iteration `t - 1` to `t`; undefined where a hole follows none. */
function rulesAt(s: Sequence, span: Span, t: number): Rule[][] | undefined {
  const rules: Rule[][] = [];
  for (let slot = 0; slot < span.period; slot++) {
    const [before, now] = [holesOf(itemAt(s, span, t - 1, slot)), holesOf(itemAt(s, span, t, slot))];
    const row = now.map((hole, h) => {
      const old = before[h]!;
      if (hole.kind === "literal") return { kind: "literals" } as const;
      if (hole.kind === "operand" && old.kind === "operand") return operandRule(s, span, t, old.item, hole.item);
      if (hole.kind !== "counter" || old.kind !== "counter") return undefined;
      const scale = hole.value - old.value;
      return { kind: "counter", scale, offset: hole.value - scale * t, quoted: hole.quoted } as const;
    });
    if (row.includes(undefined)) return undefined;
    rules.push(row as Rule[]);
  }
  return rules;
}

function operandRule(s: Sequence, span: Span, t: number, old: Item, now: Item): Rule | undefined {
  if (old === now) return { kind: "same", item: now };
  const [a, b] = [ownPlace(s, span, old), ownPlace(s, span, now)];
  if (b && (!a || a.slot !== b.slot)) {
    // With two iterations only, the first may still read what goes before the loop.
    return span.count === 2 && !a ? { kind: "own", slot: b.slot, scale: 1, offset: b.index - t } : undefined;
  }
  if (a && b) return { kind: "own", slot: b.slot, scale: b.index - a.index, offset: b.index - (b.index - a.index) * t };
  for (const p of placesOf(s, old)) {
    const q = placesOf(s, now).find((x) => x.loop === p.loop && x.slot === p.slot);
    if (!q) continue;
    const scale = q.index - p.index;
    return { kind: "other", loop: p.loop, slot: p.slot, scale, offset: q.index - scale * t };
  }
  return undefined;
}

function ownPlace(
  s: Sequence,
  { start, period, count }: Span,
  item: Item,
): { slot: number; index: number } | undefined {
  const at = s.position.get(item)! - start;
  if (at < 0 || at >= period * count) return undefined;
  return { slot: at % period, index: Math.floor(at / period) };
}

function placesOf(s: Sequence, item: Item): readonly Place[] {
  const main = s.places.get(item);
  const others = s.aliases.get(item) ?? [];
  return main ? [main, ...others] : others;
}

/** True when every hole of iteration `t` holds what the rules say; initial values are settled when the loop is cut. */
function follows(s: Sequence, span: Span, rules: readonly (readonly Rule[])[], t: number): boolean {
  return rules.every((row, slot) =>
    holesOf(itemAt(s, span, t, slot)).every((hole, h) => {
      const rule = row[h]!;
      if (rule.kind === "literals") return true;
      if (hole.kind === "counter") return rule.kind === "counter" && hole.value === rule.scale * t + rule.offset;
      if (hole.kind !== "operand" || rule.kind === "counter") return false;
      if (rule.kind === "same") return hole.item === rule.item;
      const index = rule.scale * t + rule.offset;
      if (rule.kind === "other")
        return placesOf(s, hole.item).some((p) => p.loop === rule.loop && p.slot === rule.slot && p.index === index);
      if (index < 0) return rule.scale === 1;
      return index < span.count && hole.item === itemAt(s, span, index, rule.slot);
    }),
  );
}

/** The loop of iterations `from` to `to`; undefined where a value before the first iteration is not one value. */
function cut(s: Sequence, span: Span, rules: readonly (readonly Rule[])[], from: number, to: number): Loop | undefined {
  const initial = initialValues(s, span, rules, from, to);
  if (!initial) return undefined;
  const literals = (slot: number, h: number) =>
    Array.from({ length: to - from }, (_, t) => {
      const hole = holesOf(itemAt(s, span, from + t, slot))[h]!;
      return hole.kind === "literal" ? hole.value : Number.NaN;
    });
  const patterns = rules.map((row, slot) =>
    row.map((rule, h): Pattern => {
      if (rule.kind === "same") return rule;
      if (rule.kind === "literals") return { kind: "literals", values: literals(slot, h) };
      const offset = rule.offset + rule.scale * from;
      if (rule.kind === "counter") return { kind: "counter", scale: rule.scale, offset, quoted: rule.quoted };
      const own = rule.kind === "own";
      return {
        kind: "member",
        loop: own ? undefined : rule.loop,
        slot: rule.slot,
        scale: rule.scale,
        offset: own ? offset - from : offset,
      };
    }),
  );
  const body = rules.map((_, slot) => itemAt(s, span, from, slot));
  return { kind: "loop", count: to - from, body, patterns, initial };
}

/** What stands where a rule reads an iteration before `from`: one value for each place, defined before the loop. */
function initialValues(
  s: Sequence,
  span: Span,
  rules: readonly (readonly Rule[])[],
  from: number,
  to: number,
): Loop["initial"] | undefined {
  const found = new Map<string, Loop["initial"][number]>();
  const begin = span.start + from * span.period;
  for (const [slot, row] of rules.entries()) {
    for (const [h, rule] of row.entries()) {
      if (rule.kind !== "own") continue;
      for (let t = from; t < to && rule.scale * t + rule.offset < from; t++) {
        const hole = holesOf(itemAt(s, span, t, slot))[h]!;
        if (rule.scale !== 1 || hole.kind !== "operand" || s.position.get(hole.item)! >= begin) return undefined;
        const entry = { slot: rule.slot, index: rule.scale * t + rule.offset - from, item: hole.item };
        const key = `${entry.slot} ${entry.index}`;
        if ((found.get(key)?.item ?? entry.item) !== entry.item) return undefined;
        found.set(key, entry);
      }
    }
  }
  return [...found.values()].sort((a, b) => a.slot - b.slot || b.index - a.index);
}
