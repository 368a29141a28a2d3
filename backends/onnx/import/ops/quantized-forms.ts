/** onnxruntime's operators on integers with scales: what the operator does to the floats, and the result quantized. */
import { type Node, ops } from "../../../../compiler/index.ts";
import { pointwise } from "../broadcast.ts";
import { float, isNarrow } from "../elements.ts";
import type { NodeView } from "../node-view.ts";
import type { ImportRecord, Records } from "../record.ts";
import type { Value } from "../values.ts";
import { quantizedNode, wide } from "./quantized.ts";
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
  return pointwise(n, operands, ([q, s, z]) => mul(wide(z ? sub(whole(q!), whole(z)) : q!), wide(s!)), float);
}

const whole = (x: Node): Node => cast(x, "i32");

/** Quantizes with the scale and the zero point at a place. */
function quantizedBy(n: NodeView, x: Value, scale: number, type = n.inputs[scale + 1]?.type ?? n.in(0).type): Value {
  if (!isNarrow(type)) throw n.fail(`quantizing to ${type.name} is not supported`);
  const zero = n.inputs[scale + 1] && scalar(n, scale + 1);
  const operands = [x, scalar(n, scale), ...(zero ? [zero] : [])];
  return pointwise(n, operands, ([v, s, z]) => quantizedNode(v!, s!, z, type), type);
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

export const quantizedForms: Records = {
  "com.microsoft.QLinearAdd": ofTwo(add),
  "com.microsoft.QLinearMul": ofTwo(mul),
  "com.microsoft.QLinearSigmoid": ofOne((x, n) => pointwise(n, [x], ([v]) => sigmoid(v!))),
  "com.microsoft.QLinearLeakyRelu": ofOne((x, n) =>
    pointwise(n, [x], ([v]) => select(lt(v!, 0), mul(v!, n.float("alpha", 0.01)), v!)),
  ),
  "com.microsoft.QLinearSoftmax": ofOne(softmax),
  "com.microsoft.QLinearConcat": { build: concat },
  "com.microsoft.QLinearGlobalAveragePool": ofOne((x, n) => {
    if (n.int("channels_last", 0) !== 0) throw n.fail("channels_last is not supported");
    return averageOverSpace(n.with([x]));
  }),
};
