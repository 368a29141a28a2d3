/** Elementwise operators over named axes: chooses one layout for all operands by cost, then uses NumPy broadcasting. */
import type { Axis, DType } from "../../../compiler/index.ts";
import { type Attributes, type Emission, emit, wishOf } from "./emission.ts";
import { serves } from "./hints.ts";
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

/** Operands in a common order and grouping that ONNX can broadcast; `groups` are the result's dimensions. */
export interface Aligned {
  readonly values: readonly Value[];
  readonly groups: Groups;
}

/** Applies `type` elementwise; operands broadcast by axis name. */
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

/** Rearranges operands to the order that moves the fewest elements, with compatible dimensions. */
export function align(e: Emission, operands: readonly Tensor[]): Aligned {
  const order = chooseOrder(e, operands);
  return fit(
    e,
    operands.map((t) => arrange(e, t, within(order, t))),
    order,
  );
}

/** Like `align`, for operands that are already in consistent orders. */
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

/** The grouping that requires the fewest reshapes of full operands. */
function cheapest(candidates: readonly Groups[], full: readonly Value[]): Groups {
  const cost = (g: Groups) => full.filter((v) => !fitsAs(v, g)).length;
  return candidates.reduce((a, b) => (cost(b) < cost(a) ? b : a));
}

/** True if the value already has these dimensions, except for leading ones. */
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

/** An operand's dimensions: the result's, 1 where it lacks them, without leading ones. */
function dimensionsIn(v: Value, groups: Groups): Groups {
  const own = groups.map((g) => (g.length > 0 && carries(v, g[0]!.name) ? g : []));
  const start = own.findIndex((g) => g.length > 0);
  const needed = start < 0 ? [] : own.slice(start);
  return fitsAs(v, needed) ? v.groups : needed;
}

/** The order of all axes that moves the fewest elements; ties go to the users' wish, then to the most common order. */
export function chooseOrder(e: Emission, operands: readonly Tensor[]): string[] {
  const largestFirst = [...operands].sort((a, b) => sizeOf(b) - sizeOf(a));
  const candidates: string[][] = [];
  for (const t of largestFirst) {
    for (const v of t.layouts) {
      const merged = largestFirst.reduce((order, other) => (other === t ? order : merge(e, order, other)), orderOf(v));
      if (!candidates.some((c) => sameOrder(c, merged))) candidates.push(merged);
    }
  }
  const wish = wishOf(e);
  const rated = candidates.map((order) => ({
    order,
    cost: operands.reduce((n, t) => n + moveCost(t, within(order, t)), 0),
    serves: wish === undefined || serves(wish, order),
    usual: agreement(e, order),
  }));
  const better = (a: (typeof rated)[number], b: (typeof rated)[number]) =>
    a.cost !== b.cost ? a.cost < b.cost : a.serves !== b.serves ? a.serves : a.usual > b.usual;
  return (
    rated.reduce<(typeof rated)[number] | undefined>((a, b) => (a && !better(b, a) ? a : b), undefined)?.order ?? []
  );
}

const sizeOf = (t: Tensor): number => weightOf(axesOf(first(t)));

function within(order: readonly string[], t: Tensor): string[] {
  const own = orderOf(first(t));
  return order.filter((n) => own.includes(n));
}

/** Inserts the axes that only `other` has where its own order allows it and precedence counts prefer it. */
function merge(e: Emission, order: readonly string[], other: Tensor): string[] {
  let out = [...order];
  const theirs = orderOf(first(other));
  theirs.forEach((name, i) => {
    if (out.includes(name)) return;
    const low = 1 + Math.max(-1, ...theirs.slice(0, i).map((n) => out.indexOf(n)));
    const after = theirs
      .slice(i + 1)
      .map((n) => out.indexOf(n))
      .filter((at) => at >= low);
    const high = Math.min(out.length, ...after);
    const places = Array.from({ length: high - low + 1 }, (_, k) => out.toSpliced(low + k, 0, name));
    out = places.reduce((a, b) => (agreement(e, b) > agreement(e, a) ? b : a));
  });
  return out;
}

/** How common an order is: for each pair of axes, elements in values of that order minus those of the opposite. */
function agreement(e: Emission, order: readonly string[]): number {
  let total = 0;
  for (let i = 0; i < order.length; i++) {
    for (let k = i + 1; k < order.length; k++) {
      total += (e.precedence.get(`${order[i]} ${order[k]}`) ?? 0) - (e.precedence.get(`${order[k]} ${order[i]}`) ?? 0);
    }
  }
  return total;
}

/** Adds a value to the precedence counts of axis pairs. */
export function countOrder(e: Emission, v: Value): void {
  const order = orderOf(v);
  const weight = weightOf(axesOf(v));
  for (let i = 0; i < order.length; i++) {
    for (let k = i + 1; k < order.length; k++) {
      const key = `${order[i]} ${order[k]}`;
      e.precedence.set(key, (e.precedence.get(key) ?? 0) + weight);
    }
  }
}
