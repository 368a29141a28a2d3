/** Reductions and argmax over named axes. */
import { type Axis, productOfDims } from "../../../compiler/index.ts";
import { type Attributes, castTo, type Emission, emit, filled, integers, scalar, wishOf } from "./emission.ts";
import { serves } from "./hints.ts";
import { materialize, regroup } from "./layout.ts";
import { dimTensor } from "./sizes.ts";
import {
  axesOf,
  dimOf,
  first,
  isolate,
  orderOf,
  splitGroups,
  type Tensor,
  tensor,
  type Value,
  value,
} from "./value.ts";

/** Applies `type` (ReduceSum, ReduceMax, ReduceLogSumExp) over axes that the tensor has. */
export function reduce(e: Emission, type: string, t: Tensor, over: readonly string[]): Tensor {
  const v = pick(e, t, over);
  const sums = type === "ReduceSum" ? (columnSums(e, v, over) ?? longSum(e, v, over)) : undefined;
  if (sums) return tensor(sums);
  const source = regroup(
    e,
    v,
    splitGroups(v.groups, (a, b) => over.includes(a.name) !== over.includes(b.name)),
  );
  const reduced = source.groups.flatMap((g, i) => (g.length > 0 && over.includes(g[0]!.name) ? [i] : []));
  const groups = source.groups.filter((_, i) => !reduced.includes(i));
  return tensor(value(reduceNode(e, type, source.name, reduced), t.dtype, groups));
}

/**
 * Sums over all leading axes, such as the gradient of a bias: a row of ones times the matrix, since onnxruntime's CPU
 * kernel of ReduceSum is slower for these than its matrix product.
 */
function columnSums(e: Emission, v: Value, over: readonly string[]): Value | undefined {
  const axes = axesOf(v);
  const count = axes.filter((a) => over.includes(a.name)).length;
  const [summed, kept] = [axes.slice(0, count), axes.slice(count)];
  const rows = productOfDims(summed.map((a) => a.size));
  const areLeading = summed.every((a) => over.includes(a.name)) && kept.length > 0;
  if (e.options.dialect !== "onnxruntime" || v.dtype !== "f32" || !areLeading || typeof rows !== "number")
    return undefined;
  const matrix = regroup(e, v, [summed, kept]);
  return value(emit(e, "MatMul", [filled(e, "f32", rows, 1), matrix.name]), v.dtype, [kept]);
}

/** From this many elements on, a sum of all of them is taken in two steps. */
const longestRun = 2 ** 15;

/**
 * The sum of all elements as a sum of sums over rows: runtimes add a vector up one element after another, in one
 * thread, which loses digits in f32 where they are many, as in the norm of all gradients.
 */
function longSum(e: Emission, v: Value, over: readonly string[]): Value | undefined {
  const axes = axesOf(v);
  const count = productOfDims(axes.map((a) => a.size));
  if (v.dtype !== "f32" || typeof count !== "number" || count < longestRun) return undefined;
  if (!axes.every((a) => over.includes(a.name))) return undefined;
  const rows = divisorNearRoot(count);
  if (rows === 1) return undefined;
  const matrix = emit(e, "Reshape", [v.base.name, integers(e, [rows, -1])]);
  return value(reduceNode(e, "ReduceSum", reduceNode(e, "ReduceSum", matrix, [1]), [0]), v.dtype, []);
}

/** The largest divisor that is not above the square root. */
function divisorNearRoot(n: number): number {
  let divisor = Math.floor(Math.sqrt(n));
  while (n % divisor !== 0) divisor--;
  return divisor;
}

function reduceNode(e: Emission, type: string, name: string, axes: readonly number[]): string {
  const byInput = type === "ReduceSum" || e.options.opset >= 18;
  const attributes: Attributes = { ...(!byInput && { axes }), keepdims: 0 };
  return emit(e, type, byInput ? [name, integers(e, axes)] : [name], attributes);
}

/** Picks the layout whose kept axes are in the order that the users want. */
function pick(e: Emission, t: Tensor, over: readonly string[]): Value {
  const wish = wishOf(e);
  const kept = (v: Value) => orderOf(v).filter((n) => !over.includes(n));
  return (wish && t.layouts.find((v) => serves(wish, kept(v)))) ?? first(t);
}

/** Reduces with `type` over the named axes; the tensor is constant along those that it lacks. */
export function reduction(
  e: Emission,
  type: string,
  t: Tensor,
  over: readonly Axis[],
  repeated: "same" | "times" | undefined,
): Tensor {
  const have = orderOf(first(t));
  const real = over.filter((a) => have.includes(a.name)).map((a) => a.name);
  const repeats = over.filter((a) => a.size !== 1 && !have.includes(a.name));
  if (repeats.length > 0 && !repeated) {
    const spread = tensor(materialize(e, t, [...repeats, ...axesOf(first(t))]));
    return reduceAs(e, type, spread, [...repeats.map((a) => a.name), ...real]);
  }
  const once = real.length === 0 ? t : reduceAs(e, type, t, real);
  return repeated === "times" ? scaleBySize(e, once, repeats) : once;
}

/** onnxruntime has no u32 reductions, so this uses i64, which is exact modulo 2³². */
function reduceAs(e: Emission, type: string, t: Tensor, over: readonly string[]): Tensor {
  if (t.dtype !== "u32") return reduce(e, type, t, over);
  const v = first(t);
  const out = first(reduce(e, type, tensor(value(inInt64(e, v), "u32", v.groups)), over));
  return tensor(value(castTo(e, out.name, "i64", "u32"), "u32", out.groups));
}

const inInt64 = (e: Emission, v: Value): string => (v.dtype === "u32" ? castTo(e, v.name, "u32", "i64") : v.name);

/** Multiplies the tensor by the number of elements along axes that it lacks. */
export function scaleBySize(e: Emission, t: Tensor, axes: readonly Axis[]): Tensor {
  if (axes.length === 0) return t;
  const count = productOfDims(axes.map((a) => a.size));
  const v = first(t);
  const factor =
    typeof count === "number"
      ? scalar(e, t.dtype, count)
      : castTo(e, emit(e, "Squeeze", [dimTensor(e, count)]), "i64", t.dtype);
  return tensor(value(emit(e, "Mul", [v.name, factor]), t.dtype, v.groups));
}

/** The index of the first maximum along one axis, as i32. */
export function argmax(e: Emission, t: Tensor, axis: string): Tensor {
  if (!orderOf(first(t)).includes(axis)) return tensor(value(scalar(e, "i32", 0), "i32", []));
  const v = first(t);
  const source = regroup(e, v, isolate(v.groups, [axis]));
  const at = dimOf(source, axis);
  const name = emit(e, "ArgMax", [inInt64(e, source)], { axis: at, keepdims: 0 });
  const groups = source.groups.filter((_, i) => i !== at);
  return tensor(value(castTo(e, name, "i64", "i32"), "i32", groups));
}
