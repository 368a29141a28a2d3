/**
 * Contractions as MatMul and Gemm. Axes are merged to [batch..., rows, columns]; an operand that has its matrix axes the
 * other way round is not copied but multiplied transposed (Gemm's transA and transB, onnxruntime's FusedMatMul).
 */
import type { Axis } from "../../../compiler/index.ts";
import { elementwise } from "./elementwise.ts";
import { type Emission, emit, wishOf } from "./emission.ts";
import { serves } from "./hints.ts";
import { arrange, regroup } from "./layout.ts";
import { type Matrix, matrixForm, memoryOrder, nearestForm, type Roles } from "./matrix.ts";
import { reduce, scaleBySize } from "./reduction.ts";
import {
  axesOf,
  first,
  type Groups,
  orderOf,
  sameOrder,
  separate,
  type Tensor,
  tensor,
  type Value,
  value,
  weightOf,
} from "./value.ts";

/** Σ a·b over the axes named. */
export function contract(e: Emission, a: Tensor, b: Tensor, over: readonly Axis[]): Tensor {
  const [an, bn] = [orderOf(first(a)), orderOf(first(b))];
  const inBoth = over.filter((x) => an.includes(x.name) && bn.includes(x.name)).map((x) => x.name);
  // A constant along a contracted axis leaves the sum to the other operand.
  const only = (names: readonly string[], others: readonly string[]) =>
    over.filter((x) => names.includes(x.name) && !others.includes(x.name)).map((x) => x.name);
  const [left, right] = [sumOver(e, a, only(an, bn)), sumOver(e, b, only(bn, an))];
  const neither = over.filter((x) => x.size !== 1 && !an.includes(x.name) && !bn.includes(x.name));
  const product =
    inBoth.length === 0 ? elementwise(e, "Mul", [left, right], a.dtype) : multiply(e, left, right, inBoth);
  return scaleBySize(e, product, neither);
}

const sumOver = (e: Emission, t: Tensor, names: readonly string[]): Tensor =>
  names.length === 0 ? t : reduce(e, "ReduceSum", t, names);

function multiply(e: Emission, a: Tensor, b: Tensor, contracted: readonly string[]): Tensor {
  const [an, bn] = [orderOf(first(a)), orderOf(first(b))];
  const batch = an.filter((n) => bn.includes(n) && !contracted.includes(n));
  const dot = an.length === bn.length && batch.length + contracted.length === an.length;
  // Thousands of dot products are faster as one product and one sum than as matrices of one element.
  if (dot && batch.length > 0) return reduce(e, "ReduceSum", elementwise(e, "Mul", [a, b], a.dtype), contracted);
  const [left, right] = pairUp(e, a, b, { batch, contracted });
  const [x, y] = [arrange(e, a, memoryOrder(left)), arrange(e, b, memoryOrder(right))];
  const product = swapped(e, left, right) ? matrices(e, y, right, x, left) : matrices(e, x, left, y, right);
  return left.batch.length === 0 ? product : asWished(e, product);
}

/** A stack of products whose users need another order is moved at once, so that what is computed from it lies right already. */
function asWished(e: Emission, t: Tensor): Tensor {
  const wish = wishOf(e);
  const order = orderOf(first(t));
  const wished = wish?.order.filter((n) => order.includes(n));
  if (!wish || serves(wish, order) || wished?.length !== order.length) return t;
  const moved = arrange(e, t, wished);
  return { dtype: t.dtype, layouts: [moved, ...t.layouts.filter((v) => v !== moved)] };
}

/** True when the result's users ask for b's axes before a's. */
function swapped(e: Emission, a: Matrix, b: Matrix): boolean {
  const wish = wishOf(e);
  const [straight, turned] = [
    [...a.batch, ...a.own, ...b.own],
    [...a.batch, ...b.own, ...a.own],
  ];
  return wish !== undefined && a.own.length > 0 && b.own.length > 0 && !serves(wish, straight) && serves(wish, turned);
}

/** The forms of both operands that agree in batch and contracted order and move the fewest elements. */
function pairUp(e: Emission, a: Tensor, b: Tensor, roles: Roles): [Matrix, Matrix] {
  // MatMul wants [own, contracted] · [contracted, own]; onnxruntime's form of it takes either.
  const free = e.options.dialect === "onnxruntime";
  const movedA = () => nearestForm(orderOf(first(a)), roles, free ? undefined : false);
  const movedB = () => nearestForm(orderOf(first(b)), roles, free ? undefined : true);
  const [formsA, formsB] = [formsOf(a, roles), formsOf(b, roles)];
  const costs = (m: Matrix, forms: readonly Matrix[], t: Tensor) =>
    forms.some((f) => sameOrder(memoryOrder(f), memoryOrder(m))) ? 0 : weightOf(axesOf(first(t)));
  const candidates: { pair: [Matrix, Matrix]; cost: number }[] = [];
  const consider = (x: Matrix, y: Matrix) =>
    candidates.push({ pair: [x, y], cost: costs(x, formsA, a) + costs(y, formsB, b) });
  for (const f of formsA) for (const g of [...formsB, movedB()]) consider(f, agreeing(g, f));
  for (const g of formsB) consider(agreeing(movedA(), g), g);
  if (candidates.length === 0) {
    const f = movedA();
    consider(f, agreeing(movedB(), f));
  }
  return candidates.reduce((x, y) => (y.cost < x.cost ? y : x)).pair;
}

/** Layouts that are matrices as they stand. */
function formsOf(t: Tensor, roles: Roles): Matrix[] {
  return t.layouts.flatMap((v) => {
    const form = matrixForm(orderOf(v), roles);
    return form ? [form] : [];
  });
}

const agreeing = (m: Matrix, like: Matrix): Matrix => ({ ...m, batch: like.batch, contracted: like.contracted });

/** a · b for operands in their memory orders; the result is [batch..., a's own, b's own]. */
function matrices(e: Emission, x: Value, a: Matrix, y: Value, b: Matrix): Tensor {
  const axis = (v: Value, names: readonly string[]) => names.map((n) => axesOf(v).find((p) => p.name === n)!);
  const [rows, columns] = [axis(x, a.own), axis(y, b.own)];
  return a.batch.length === 0
    ? flatProduct(e, x, a, y, b, rows, columns)
    : stackedProduct(e, x, a, y, b, axis(x, a.batch), rows, columns);
}

/** Without batch axes: MatMul where both stand as MatMul wants them, else Gemm, which multiplies either way round. */
function flatProduct(
  e: Emission,
  x: Value,
  a: Matrix,
  y: Value,
  b: Matrix,
  rows: readonly Axis[],
  columns: readonly Axis[],
): Tensor {
  const sums = axesOf(x).filter((p) => a.contracted.includes(p.name));
  const left = turned(e, x, a.contractedFirst && rows.length > 0, [...a.own, ...a.contracted]);
  const right = turned(e, y, !b.contractedFirst && columns.length > 0, [...b.contracted, ...b.own]);
  if (left && right) {
    const kept = rowGroups(left, rows, sums);
    const p = regroup(e, left, [...kept, sums]);
    const q = regroup(e, right, columns.length === 0 ? [sums] : [sums, columns]);
    const name = emit(e, "MatMul", [p.name, q.name]);
    return tensor(value(name, x.dtype, columns.length === 0 ? kept : [...kept, columns]));
  }
  const p = regroup(e, x, a.contractedFirst ? [sums, rows] : [rows, sums]);
  const q = regroup(e, y, b.contractedFirst ? [sums, columns] : [columns, sums]);
  const name = emit(e, "Gemm", [p.name, q.name], {
    ...(a.contractedFirst && { transA: 1 }),
    ...(!b.contractedFirst && { transB: 1 }),
    ...takeFactor(e),
  });
  return tensor(value(name, x.dtype, [rows, columns]));
}

/** The operand as MatMul wants it: as it is, or in the order given if it is stored and can be written so; else undefined. */
function turned(e: Emission, v: Value, wrong: boolean, order: readonly string[]): Value | undefined {
  if (!wrong) return v;
  return v.view && e.kinds.get(v.view.node) === "stored" ? arrange(e, tensor(v), order) : undefined;
}

/** The rows as they are grouped already, where that leaves the contracted axes together. */
function rowGroups(x: Value, rows: readonly Axis[], sums: readonly Axis[]): Groups {
  const groups = x.groups.filter((g) => !g.some((p) => sums.includes(p)));
  return groups.flat().length === rows.length ? groups : separate(rows);
}

function stackedProduct(
  e: Emission,
  x: Value,
  a: Matrix,
  y: Value,
  b: Matrix,
  batch: readonly Axis[],
  rows: readonly Axis[],
  columns: readonly Axis[],
): Tensor {
  const sums = axesOf(x).filter((p) => a.contracted.includes(p.name));
  const stack = separate(batch);
  const p = regroup(e, x, a.contractedFirst ? [...stack, sums, rows] : [...stack, rows, sums]);
  const q = regroup(e, y, b.contractedFirst ? [...stack, sums, columns] : [...stack, columns, sums]);
  const [transA, transB] = [a.contractedFirst, !b.contractedFirst];
  const groups = [...stack, rows, columns];
  if (e.options.dialect === "onnxruntime" && x.dtype === "f32") {
    const flags = { ...(transA && { transA: 1 }), ...(transB && { transB: 1 }), ...takeFactor(e) };
    return tensor(value(emit(e, "FusedMatMul", [p.name, q.name], flags, "com.microsoft"), x.dtype, groups));
  }
  const [l, r] = [transA ? flip(e, p) : p.name, transB ? flip(e, q) : q.name];
  return tensor(value(emit(e, "MatMul", [l, r]), x.dtype, groups));
}

/** The number that the only user multiplies this product by, which then need not: see `scaledAlready`. */
function takeFactor(e: Emission): { alpha?: { float: number } } {
  const factor = e.at && e.factors.get(e.at);
  if (factor === undefined) return {};
  e.scaled.add(e.at!);
  return { alpha: { float: factor } };
}

/** The matrices of a stack transposed. */
function flip(e: Emission, v: Value): string {
  const rank = v.groups.length;
  const perm = Array.from({ length: rank }, (_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i));
  return emit(e, "Transpose", [v.name], { perm });
}
