/**
 * Fits a loop to repeated statements: finds the rule of each hole of its body, and for how many iterations it holds.
 */
import { type Hole, holesOf, type Item } from "./text/item.ts";
import { leastSaved } from "./text/runs.ts";

/** The contents of a hole of a loop's body, as a function of the iteration i. */
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
  /** For each statement of the body, the patterns of its holes. */
  readonly patterns: readonly (readonly Pattern[])[];
  /** Values for iterations before the first: the loop-carried initial values. */
  readonly initial: readonly { readonly slot: number; readonly index: number; readonly item: Item }[];
}

/** The place of a statement in a loop. */
export interface Place {
  readonly loop: Loop;
  readonly slot: number;
  readonly index: number;
}

/** The statements being rolled, and the places of those already rolled. */
export interface Sequence {
  readonly items: readonly Item[];
  readonly position: ReadonlyMap<Item, number>;
  readonly places: Map<Item, Place>;
  /** Other places of a value: as an initial value of loops. */
  readonly aliases: Map<Item, Place[]>;
}

/** Statements of equal shape, `period` apart. */
export interface Span {
  readonly start: number;
  readonly period: number;
  readonly count: number;
}

/** The rule of a hole before its loop is cut from the span: iterations count from the span's start. */
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

export interface Fitted {
  readonly loop: Loop;
  /** The iterations [from, to) of the span that the loop covers. */
  readonly from: number;
  readonly to: number;
}

/** The longest loop around the middle of a span whose holes follow rules; undefined if it saves too little. */
export function fitLoop(s: Sequence, span: Span): Fitted | undefined {
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

/** The rules that iterations `t - 1` and `t` suggest; undefined if a hole follows none. */
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
    // With only two iterations, the first may still read a value from before the loop.
    return span.count === 2 && !a && b.index < t
      ? { kind: "own", slot: b.slot, scale: 1, offset: b.index - t }
      : undefined;
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
  const position = s.position.get(item); // an entry of the signature has none
  if (position === undefined || position < start || position >= start + period * count) return undefined;
  const at = position - start;
  return { slot: at % period, index: Math.floor(at / period) };
}

function placesOf(s: Sequence, item: Item): readonly Place[] {
  const main = s.places.get(item);
  const others = s.aliases.get(item) ?? [];
  return main ? [main, ...others] : others;
}

/** True if every hole of iteration `t` follows its rule; initial values are checked when the loop is cut. */
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

/**
 * The loop of iterations `from` to `to`; undefined if an initial value is not unique or the loop does not read back.
 */
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
  const loop: Loop = { kind: "loop", count: to - from, body, patterns, initial };
  return readsBack(s, loop, span.start + from * span.period) ? loop : undefined;
}

/** True if expanding a loop whose first statement is at `start` gives back the original statements. */
function readsBack(s: Sequence, loop: Loop, start: number): boolean {
  const period = loop.body.length;
  const said = (pattern: Pattern, hole: Hole, i: number, slot: number): boolean => {
    if (pattern.kind === "literals") return hole.kind === "literal" && Object.is(hole.value, pattern.values[i]);
    if (pattern.kind === "counter") {
      return (
        hole.kind === "counter" && hole.value === pattern.scale * i + pattern.offset && hole.quoted === pattern.quoted
      );
    }
    if (hole.kind !== "operand") return false;
    if (pattern.kind === "same") return hole.item === pattern.item && (s.position.get(hole.item) ?? -1) < start;
    const index = pattern.scale * i + pattern.offset;
    if (pattern.loop)
      return placesOf(s, hole.item).some(
        (p) => p.loop === pattern.loop && p.slot === pattern.slot && p.index === index,
      );
    if (index < 0)
      return loop.initial.some((v) => v.slot === pattern.slot && v.index === index && v.item === hole.item);
    const at = index * period + pattern.slot;
    return at < i * period + slot && s.items[start + at] === hole.item;
  };
  for (let i = 0; i < loop.count; i++) {
    for (const [slot, patterns] of loop.patterns.entries()) {
      const holes = holesOf(s.items[start + i * period + slot]!);
      if (!holes.every((hole, h) => said(patterns[h]!, hole, i, slot))) return false;
    }
  }
  return true;
}

/** The values read for iterations before `from`: one per slot and iteration, defined before the loop. */
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
