/**
 * Contractions as MatMul and Gemm. Axes are merged to [batch..., rows, columns]; an operand with transposed matrix axes
 * is not copied but multiplied transposed (Gemm's transA and transB, onnxruntime's FusedMatMul).
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

/** Σ a·b over the named axes, where a and b are the operands of the current node. */
export function contract(e: Emission, a: Tensor, b: Tensor, over: readonly Axis[]): Tensor {
  const [an, bn] = [orderOf(first(a)), orderOf(first(b))];
  const inBoth = over.filter((x) => an.includes(x.name) && bn.includes(x.name)).map((x) => x.name);
  // Along a contracted axis that one operand lacks, the other is summed first.
  const only = (names: readonly string[], others: readonly string[]) =>
    over.filter((x) => names.includes(x.name) && !others.includes(x.name)).map((x) => x.name);
  const [left, right] = [sumOver(e, a, only(an, bn)), sumOver(e, b, only(bn, an))];
  const neither = over.filter((x) => x.size !== 1 && !an.includes(x.name) && !bn.includes(x.name));
  const product =
    inBoth.length === 0
      ? elementwise(e, "Mul", [left, right], a.dtype)
      : multiply(e, left, right, inBoth, left === a && right === b);
  return scaleBySize(e, product, neither);
}

const sumOver = (e: Emission, t: Tensor, names: readonly string[]): Tensor =>
  names.length === 0 ? t : reduce(e, "ReduceSum", t, names);

function multiply(e: Emission, a: Tensor, b: Tensor, contracted: readonly string[], areOperands: boolean): Tensor {
  const [an, bn] = [orderOf(first(a)), orderOf(first(b))];
  const batch = an.filter((n) => bn.includes(n) && !contracted.includes(n));
  const dot = an.length === bn.length && batch.length + contracted.length === an.length;
  // A batch of dot products is faster as multiply and sum than as 1x1 matmuls.
  if (dot && batch.length > 0) return reduce(e, "ReduceSum", elementwise(e, "Mul", [a, b], a.dtype), contracted);
  const [left, right] = pairUp(e, a, b, { batch, contracted });
  const [x, y] = [factor(e, a, left), factor(e, b, right)];
  const isSwapped = swapped(e, left, right);
  const [rows, columns] = isSwapped ? [y, x] : [x, y];
  if (batch.length > 0) return asWished(e, stackedProduct(e, rows, columns));
  const product = flatProduct(e, rows, columns);
  if (areOperands) noteProduct(e, first(product).name, isSwapped ? 1 : 0);
  return product;
}

/** Records which graph product a MatMul is; equal graph products may share one MatMul in the file. */
function noteProduct(e: Emission, name: string, operand: number): void {
  e.products.set(name, [...(e.products.get(name) ?? []), { node: e.at!, operand }]);
}

/** One operand of a product: a value laid out as `matrix` says, and its axes by role. */
interface Factor {
  readonly value: Value;
  readonly matrix: Matrix;
  readonly batch: readonly Axis[];
  readonly contracted: readonly Axis[];
  /** The axes that only this operand has: rows of the result if it is the first, columns if it is the second. */
  readonly own: readonly Axis[];
}

function factor(e: Emission, t: Tensor, matrix: Matrix): Factor {
  const v = arrange(e, t, memoryOrder(matrix));
  const named = (names: readonly string[]) => names.map((n) => axesOf(v).find((a) => a.name === n)!);
  return {
    value: v,
    matrix,
    batch: named(matrix.batch),
    contracted: named(matrix.contracted),
    own: named(matrix.own),
  };
}

/** The operand as [batch..., rows, columns], its matrix axes in memory order. */
const asMatrices = (e: Emission, { value: v, matrix, batch, contracted, own }: Factor): Value =>
  regroup(e, v, [...separate(batch), ...(matrix.contractedFirst ? [contracted, own] : [own, contracted])]);

/**
 * Transposes a batched product right away if its users want another order, so that later results have that order too.
 */
function asWished(e: Emission, t: Tensor): Tensor {
  const wish = wishOf(e);
  const order = orderOf(first(t));
  const wished = wish?.order.filter((n) => order.includes(n));
  if (!wish || serves(wish, order) || wished?.length !== order.length) return t;
  const moved = arrange(e, t, wished);
  return { dtype: t.dtype, layouts: [moved, ...t.layouts.filter((v) => v !== moved)] };
}

/** True if the result's users want b's axes before a's. */
function swapped(e: Emission, a: Matrix, b: Matrix): boolean {
  const wish = wishOf(e);
  const [straight, turned] = [
    [...a.batch, ...a.own, ...b.own],
    [...a.batch, ...b.own, ...a.own],
  ];
  return wish !== undefined && a.own.length > 0 && b.own.length > 0 && !serves(wish, straight) && serves(wish, turned);
}

/** Layouts of both operands that agree in batch and contracted order and move the fewest elements. */
function pairUp(e: Emission, a: Tensor, b: Tensor, roles: Roles): [Matrix, Matrix] {
  // MatMul needs [own, contracted] · [contracted, own]; onnxruntime's FusedMatMul takes either order.
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

/** Existing layouts that are already matrices. */
function formsOf(t: Tensor, roles: Roles): Matrix[] {
  return t.layouts.flatMap((v) => {
    const form = matrixForm(orderOf(v), roles);
    return form ? [form] : [];
  });
}

const agreeing = (m: Matrix, like: Matrix): Matrix => ({ ...m, batch: like.batch, contracted: like.contracted });

/** Without batch axes: MatMul if both operands have its layout, else Gemm, which can transpose them. */
function flatProduct(e: Emission, a: Factor, b: Factor): Tensor {
  const left = turned(e, a, a.matrix.contractedFirst, [...a.matrix.own, ...a.matrix.contracted]);
  const right = turned(e, b, !b.matrix.contractedFirst, [...b.matrix.contracted, ...b.matrix.own]);
  const { dtype } = a.value;
  if (left && right) {
    const rows = rowGroups(left, a);
    const columns = b.own.length === 0 ? [] : [b.own];
    const [p, q] = [regroup(e, left, [...rows, a.contracted]), regroup(e, right, [a.contracted, ...columns])];
    return tensor(value(emit(e, "MatMul", [p.name, q.name]), dtype, [...rows, ...columns]));
  }
  const inputs = [asMatrices(e, a).name, asMatrices(e, b).name] as const;
  const attributes = {
    ...(a.matrix.contractedFirst && { transA: 1 }),
    ...(!b.matrix.contractedFirst && { transB: 1 }),
    ...takeFactor(e),
  };
  const result = value(emit(e, "Gemm", inputs, attributes), dtype, [a.own, b.own]);
  if (e.at && e.usedOnce.has(e.at)) e.gemms.set(e.at, { inputs, attributes, result });
  return tensor(result);
}

/**
 * The sum of a product and a vector with an element for each of its columns, such as a bias, as one Gemm; undefined if
 * the operands of the current node are something else, or the product has other users.
 */
export function addIntoProduct(e: Emission, operands: readonly Tensor[]): Tensor | undefined {
  const at = e.at!.operands.findIndex((o) => e.gemms.has(o));
  if (at < 0 || operands.length !== 2) return undefined;
  const { inputs, attributes, result } = e.gemms.get(e.at!.operands[at]!)!;
  const [, columns] = result.groups as [readonly Axis[], readonly Axis[]];
  const [product, vector] = [operands[at]!, operands[1 - at]!];
  const names = columns.map((a) => a.name);
  const isVector = sameOrder(orderOf(first(vector)).toSorted(), names.toSorted()) && names.length > 0;
  if (first(product) !== result || product.dtype !== vector.dtype || !isVector) return undefined;
  const added = regroup(e, arrange(e, vector, names), [columns]);
  return tensor(value(emit(e, "Gemm", [...inputs, added.name], attributes), result.dtype, result.groups));
}

/**
 * The operand in MatMul's layout: as it is, or in `order` if it is stored and can be written that way; else undefined.
 */
function turned(e: Emission, { value: v, own }: Factor, wrong: boolean, order: readonly string[]): Value | undefined {
  if (!wrong || own.length === 0) return v;
  return v.view && e.kinds.get(v.view.node) === "stored" ? arrange(e, tensor(v), order) : undefined;
}

/** The existing grouping of the rows, if it keeps them apart from the contracted axes. */
function rowGroups(v: Value, { own, contracted }: Factor): Groups {
  const groups = v.groups.filter((g) => !g.some((p) => contracted.some((c) => c.name === p.name)));
  return groups.flat().length === own.length ? groups : separate(own);
}

function stackedProduct(e: Emission, a: Factor, b: Factor): Tensor {
  const [p, q] = [asMatrices(e, a), asMatrices(e, b)];
  const [transA, transB] = [a.matrix.contractedFirst, !b.matrix.contractedFirst];
  const { dtype } = a.value;
  const groups = [...separate(a.batch), a.own, b.own];
  if (e.options.dialect === "onnxruntime" && dtype === "f32") {
    const flags = { ...(transA && { transA: 1 }), ...(transB && { transB: 1 }), ...takeFactor(e) };
    return tensor(value(emit(e, "FusedMatMul", [p.name, q.name], flags, "com.microsoft"), dtype, groups));
  }
  const [l, r] = [transA ? flip(e, p) : p.name, transB ? flip(e, q) : q.name];
  return tensor(value(emit(e, "MatMul", [l, r]), dtype, groups));
}

/** Folds the constant factor of the product's only user into alpha; the emitter of mul then skips that user. */
function takeFactor(e: Emission): { alpha?: { float: number } } {
  const factor = e.at && e.factors.get(e.at);
  if (factor === undefined) return {};
  e.scaled.add(e.at!);
  return { alpha: { float: factor } };
}

/** Transposes the last two dimensions. */
function flip(e: Emission, v: Value): string {
  const rank = v.groups.length;
  const perm = Array.from({ length: rank }, (_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i));
  return emit(e, "Transpose", [v.name], { perm });
}
