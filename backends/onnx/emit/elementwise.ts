/** Elementwise operators over named axes: one layout for all operands, found by cost, then NumPy broadcasting. */
import type { Axis, DType } from "../../../compiler/index.ts";
import { type Attributes, type Emission, emit } from "./emission.ts";
import { arrange, moveCost, regroup } from "./layout.ts";
import {
  axesOf,
  first,
  type Groups,
  orderOf,
  sameOrder,
  splitGroups,
  type Tensor,
  tensor,
  type Value,
  value,
  weightOf,
} from "./value.ts";

/** Operands in one order and grouping, so that ONNX broadcasts them; `groups` are the result's dimensions. */
export interface Aligned {
  readonly values: readonly Value[];
  readonly groups: Groups;
}

/** `type` applied element by element; operands broadcast by axis name. */
export function elementwise(
  e: Emission,
  type: string,
  operands: readonly Tensor[],
  dtype: DType,
  attributes: Attributes = {},
): Tensor {
  const { values, groups } = align(e, operands);
  const name = emit(
    e,
    type,
    values.map((v) => v.name),
    attributes,
  );
  return tensor(value(name, dtype, groups));
}

/** Brings operands into the order that moves the fewest elements, and into dimensions that fit each other. */
export function align(e: Emission, operands: readonly Tensor[]): Aligned {
  const order = chooseOrder(operands, (e.at && e.hints.get(e.at)) ?? []);
  const arranged = operands.map((t) => {
    const own = orderOf(first(t));
    return arrange(
      e,
      t,
      order.filter((n) => own.includes(n)),
    );
  });
  return fit(e, arranged, order);
}

/** The same for operands that are already in consistent orders. */
function fit(e: Emission, arranged: readonly Value[], order: readonly string[]): Aligned {
  const axes = new Map(arranged.flatMap((v) => axesOf(v).map((a) => [a.name, a] as const)));
  const all = order.map((n) => axes.get(n)!);
  const apart = (a: Axis, b: Axis) => arranged.some((v) => carries(v, a.name) !== carries(v, b.name));
  const full = arranged.filter((v) => axesOf(v).length === all.length);
  const groups = cheapest(
    full.length === 0 ? [all.map((a) => [a])] : full.map((v) => splitGroups(withoutOnes(v.groups), apart)),
    full,
  );
  const values = arranged.map((v) => regroup(e, v, dimensionsIn(v, groups)));
  const rank = Math.max(...values.map((v) => v.groups.length), 0);
  return { values, groups: padded(groups, rank) };
}

const carries = (v: Value, name: string): boolean => v.groups.some((g) => g.some((a) => a.name === name));
const withoutOnes = (groups: Groups): Groups => groups.filter((g) => g.length > 0);
const padded = (groups: Groups, rank: number): Groups => [
  ...new Array<readonly Axis[]>(Math.max(0, rank - groups.length)).fill([]),
  ...groups,
];

/** The grouping that the fewest of the full operands must be reshaped to. */
function cheapest(candidates: readonly Groups[], full: readonly Value[]): Groups {
  const cost = (g: Groups) => full.filter((v) => !fitsAs(v, g)).length;
  return candidates.reduce((a, b) => (cost(b) < cost(a) ? b : a));
}

/** True when the value has these dimensions already, but for ones in front. */
const fitsAs = (v: Value, groups: Groups): boolean => {
  const extra = v.groups.length - groups.length;
  return (
    extra >= 0 &&
    v.groups.every((g, i) =>
      i < extra
        ? g.length === 0
        : g.length === groups[i - extra]!.length && g.every((a, k) => a.name === groups[i - extra]![k]!.name),
    )
  );
};

/** An operand's dimensions: the result's, 1 where it lacks them, and nothing in front of its first. */
function dimensionsIn(v: Value, groups: Groups): Groups {
  const own = groups.map((g) => (g.length > 0 && carries(v, g[0]!.name) ? g : []));
  const start = own.findIndex((g) => g.length > 0);
  const needed = start < 0 ? [] : own.slice(start);
  return fitsAs(v, needed) ? v.groups : needed;
}

/** The order of all axes that moves least; on a tie the one nearest to what the users of the result ask for. */
export function chooseOrder(operands: readonly Tensor[], hint: readonly string[]): string[] {
  const largestFirst = [...operands].sort((a, b) => sizeOf(b) - sizeOf(a));
  const candidates: string[][] = [];
  for (const t of largestFirst) {
    for (const v of t.layouts) {
      const merged = largestFirst.reduce((order, other) => (other === t ? order : merge(order, other)), orderOf(v));
      if (!candidates.some((c) => sameOrder(c, merged))) candidates.push(merged);
    }
  }
  const cost = (order: string[]) =>
    operands.reduce((n, t) => {
      const own = orderOf(first(t));
      return (
        n +
        moveCost(
          t,
          order.filter((x) => own.includes(x)),
        )
      );
    }, 0);
  const wished = hint.filter((n) => candidates[0]?.includes(n));
  const rank = (order: string[]) => (wished.length === order.length && sameOrder(order, wished) ? 0 : 1);
  return candidates.reduce((a, b) => {
    const [ca, cb] = [cost(a), cost(b)];
    return cb < ca || (cb === ca && rank(b) < rank(a)) ? b : a;
  }, candidates[0] ?? []);
}

const sizeOf = (t: Tensor): number => weightOf(axesOf(first(t)));

/** Puts the axes that only `other` has behind their predecessor there, or in front. */
function merge(order: readonly string[], other: Tensor): string[] {
  const out = [...order];
  const theirs = orderOf(first(other));
  theirs.forEach((name, i) => {
    if (out.includes(name)) return;
    const before = theirs.slice(0, i).findLast((n) => out.includes(n));
    out.splice(before === undefined ? 0 : out.indexOf(before) + 1, 0, name);
  });
  return out;
}
