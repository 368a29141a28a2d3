/** onnxruntime's operators on integers with scales: what the operator does to the floats, and the result quantized. */
import { type Node, ops } from "../../../../compiler/index.ts";
import { pointwise } from "../broadcast.ts";
import { type ElementType, float, isNarrow } from "../elements.ts";
import type { NodeView } from "../node-view.ts";
import type { ImportRecord, Records } from "../record.ts";
import { roundedToBytes } from "../rounding.ts";
import type { Tensor, Value } from "../values.ts";
import { wide } from "../whole-floats.ts";
import { projectedAttention } from "./attention-forms.ts";
import { embeddedNorm } from "./norms.ts";
import { averagePool } from "./pooling.ts";
import { gemm, matmul } from "./products.ts";
import { centredFloats, quantizedWith } from "./quantized.ts";
import { concatAlong } from "./ranges.ts";
import { averageOverSpace } from "./reductions.ts";
import { reshapeTo } from "./shapes.ts";

const { add, cast, lt, mul, select, sigmoid, sub } = ops;

/** A scale or zero point of a whole tensor. */
function scalar(n: NodeView, i: number): Value {
  const value = n.in(i);
  if (value.shape.some((size) => size !== 1)) throw n.fail("per-channel scales are not supported");
  return reshapeTo(n, value, []);
}

/** The floats of a tensor that is followed by its scale and its zero point. */
function floatsAt(n: NodeView, at: number): Value {
  const scale = at + 1;
  const zero = n.inputs[scale + 1] && scalar(n, scale + 1);
  const operands = [n.in(at), scalar(n, scale), ...(zero ? [zero] : [])];
  return pointwise(n, operands, ([q, s, z]) => mul(centredFloats(q!, z), wide(s!)), float);
}

/** The columns of a matrix that is followed by its scale and its zero point, each one number or one for each column. */
function matrixAt(n: NodeView, at: number, columns: 0 | 1): { readonly floats: Value; readonly scale: Value } {
  const beside = (i: number): Value => {
    const value = n.in(i);
    if (value.shape.length !== 1 || value.shape[0] === 1) return scalar(n, i);
    return reshapeTo(n, value, columns === 1 ? [1, value.shape[0]!] : [value.shape[0]!, 1]);
  };
  const zero = n.inputs[at + 2] && beside(at + 2);
  const operands = [n.in(at), beside(at + 1), ...(zero ? [zero] : [])];
  const floats = pointwise(n, operands, ([q, s, z]) => mul(centredFloats(q!, z), wide(s!)), float);
  return { floats, scale: n.in(at + 1) };
}

/** QGemm: C counts in the scale of the product; the result has floats where it has no scale of its own. */
function gemmOfIntegers(n: NodeView): Value {
  const [a, b] = [floatsAt(n, 0), matrixAt(n, 3, n.flag("transB") ? 0 : 1)];
  const alpha = n.float("alpha", 1);
  const c =
    n.inputs[6] &&
    pointwise(
      n,
      [n.inputs[6], scalar(n, 1), b.scale],
      ([v, sa, sb]) => mul(mul(wide(v!), wide(sa!)), mul(wide(sb!), alpha)),
      float,
    );
  const made = gemm(n.with([a, b.floats, c]));
  return n.inputs[7] ? quantizedBy(n, made, 7, n.inputs[8]?.type ?? n.in(0).type) : made;
}

/** Adds an optional bias of the columns. */
const withBias = (n: NodeView, product: Value, bias: Value | undefined): Value =>
  bias ? pointwise(n, [product, bias], ([a, b]) => add(a!, b!)) : product;

/** DynamicQuantizeMatMul: floats that are rounded to bytes by their own range, times a matrix of integers. */
function dynamicMatmul(n: NodeView): Value {
  const x = n.x(0, ["batch", "token", "embed"]);
  const { units, step, zero } = roundedToBytes(wide(x.node));
  const rounded: Tensor = { ...x, type: float, node: mul(sub(units, zero), step) };
  return withBias(n, matmul(n, rounded, matrixAt(n.with([n.in(1), n.in(2), n.inputs[3]]), 0, 1).floats), n.inputs[4]);
}

/** A tensor of floats in f32, which products of integers are computed in. */
const inFloat = (n: NodeView, x: Value | undefined): Value | undefined =>
  x && x.type.dtype === "f16" ? pointwise(n, [x], ([v]) => wide(v!), float) : x;

/** A result in the type of the scales, which is that of the result in f16 files. */
const inTypeOf = (n: NodeView, x: Value, { type }: { readonly type: ElementType }): Value =>
  type.dtype === x.type.dtype ? x : pointwise(n, [x], ([v]) => cast(v!, type.dtype), type);

/** MatMulIntegerToFloat: A, B, their scales, their zero points, a bias. */
function integerMatmul(n: NodeView): Value {
  const left = floatsAt(n.with([n.in(0), n.in(2), n.inputs[4]]), 0);
  const right = matrixAt(n.with([n.in(1), n.in(3), n.inputs[5]]), 0, 1).floats;
  return inTypeOf(n, withBias(n, matmul(n, left, right), inFloat(n, n.inputs[6])), n.in(2));
}

/** The floats of integers that are operands of a node at these places, with their scale and zero point. */
const floatsOf = (n: NodeView, ...places: readonly [number, number, number]): Value | undefined =>
  n.inputs[places[0]] && floatsAt(n.with(places.map((i) => n.inputs[i])), 0);

/** QAttention: input, weight, bias, their scales, mask, their zero points, past. */
function integerAttention(n: NodeView): readonly (Value | undefined)[] {
  const weight = matrixAt(n.with([n.in(1), n.in(4), n.inputs[7]]), 0, 1).floats;
  const [bias, past] = [inFloat(n, n.in(2)), inFloat(n, n.inputs[8])];
  const made = projectedAttention(n.with([floatsOf(n, 0, 3, 6), weight, bias, n.inputs[5], past]));
  return made.map((value) => value && inTypeOf(n, value, n.in(2)));
}

/**
 * QEmbedLayerNormalization: the operands of EmbedLayerNormalization, then scales, then zero points of its five tables.
 */
function integerEmbeddings(n: NodeView): readonly (Value | undefined)[] {
  const tables = [2, 3, 4, 5, 6].map((i) => floatsOf(n, i, i + 6, i + 11));
  return embeddedNorm(n.with([n.in(0), n.inputs[1], ...tables, n.inputs[7]]));
}

/** Quantizes with the scale and the zero point at a place. */
function quantizedBy(n: NodeView, x: Value, scale: number, type = n.inputs[scale + 1]?.type ?? n.in(0).type): Value {
  if (!isNarrow(type)) throw n.fail(`quantizing to ${type.name} is not supported`);
  const zero = n.inputs[scale + 1] && scalar(n, scale + 1);
  return quantizedWith(n, [x, scalar(n, scale), zero], type);
}

/** Of two tensors with scales, with broadcasting. */
const ofTwo = (make: (a: Node, b: Node) => Node): ImportRecord => ({
  build: (n) =>
    quantizedBy(
      n,
      pointwise(n, [floatsAt(n, 0), floatsAt(n, 3)], ([a, b]) => make(a!, b!)),
      6,
    ),
});

/** Of one tensor with a scale. */
const ofOne = (make: (x: Value, n: NodeView) => Value): ImportRecord => ({
  build: (n) => quantizedBy(n, make(floatsAt(n, 0), n), 3),
});

function softmax(value: Value, n: NodeView): Value {
  const x = n.tensor(value);
  const at = n.dim(n.int("axis", -1), x.shape.length);
  if (n.int("opset", 13) < 13 && at !== x.shape.length - 1)
    throw n.fail("softmax over several dimensions is not supported");
  const axis = x.axes[at];
  return { ...x, node: axis === undefined ? add(mul(x.node, 0), 1) : ops.softmax(x.node, axis) };
}

/** QLinearConcat: the result's scale and zero point come first, then each part with its own. */
function concat(n: NodeView): Value {
  const parts = Array.from({ length: Math.floor((n.inputs.length - 2) / 3) }, (_, i) => floatsAt(n, 2 + 3 * i));
  if (parts.length === 0) throw n.fail("it has no inputs");
  return quantizedBy(n, concatAlong(n, parts, n.dim(n.int("axis"), parts[0]!.shape.length)), 0, n.in(2).type);
}

function channelsFirst(n: NodeView): NodeView {
  if (n.int("channels_last", 0) !== 0) throw n.fail("channels_last is not supported");
  return n;
}

export const quantizedForms: Records = {
  "com.microsoft.QLinearAdd": ofTwo(add),
  "com.microsoft.QLinearMul": ofTwo(mul),
  "com.microsoft.QLinearSigmoid": ofOne((x, n) => pointwise(n, [x], ([v]) => sigmoid(v!))),
  "com.microsoft.QLinearLeakyRelu": ofOne((x, n) =>
    pointwise(n, [x], ([v]) => select(lt(v!, 0), mul(v!, n.float("alpha", 0.01)), v!)),
  ),
  "com.microsoft.QLinearSoftmax": ofOne(softmax),
  "com.microsoft.QLinearConcat": { build: concat },
  "com.microsoft.QAttention": { build: integerAttention },
  "com.microsoft.QEmbedLayerNormalization": { build: integerEmbeddings },
  "com.microsoft.QGemm": { build: gemmOfIntegers },
  "com.microsoft.DynamicQuantizeMatMul": { build: dynamicMatmul },
  "com.microsoft.MatMulIntegerToFloat": { build: integerMatmul },
  "com.microsoft.QLinearAveragePool": ofOne((x, n) => averagePool(channelsFirst(n).with([x]))),
  "com.microsoft.QLinearGlobalAveragePool": ofOne((x, n) => averageOverSpace(channelsFirst(n).with([x]))),
};
