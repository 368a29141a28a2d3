/** Normalization over any set of axes: RMS norm and layer norm, each with its own gradient. */
import { build } from "../ir/build.ts";
import { productOfDims } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { OpViolation, type RefTensor } from "../ir/op.ts";
import { findAxis, hasAxis, type TensorType, tensorType } from "../ir/type.ts";
import { add, div, mul, rsqrt, sub } from "./elementwise.ts";
import { record, requireAxes, tabulate } from "./kinds.ts";
import { reduceMean, reduceSum } from "./reductions.ts";
import { broadcastStrides, offsetAt } from "./reference-tools.ts";
import { sizeOf } from "./sources.ts";

const normAttrs = { over: { kind: "axes" }, epsilon: { kind: "number" } } as const;
const normConstraints = {
  C1: "the normalized axes are axes of x",
  C2: "weight and bias have only axes of x, with x's sizes and dtype",
  C3: "epsilon is positive",
};

function inferNorm(
  operands: readonly TensorType[],
  over: readonly string[],
  epsilon: number,
  names: readonly string[],
): TensorType {
  const x = operands[0]!;
  requireAxes(x, over, "C1", "x");
  if (over.length === 0) throw new OpViolation("C1", "no axis is normalized");
  operands.slice(1).forEach((p, i) => {
    const wrong = p.axes.find((a) => findAxis(x, a.name)?.size !== a.size);
    if (wrong) {
      const own = findAxis(x, wrong.name);
      throw new OpViolation(
        "C2",
        `axis "${wrong.name}" is ${wrong.size} in ${names[i + 1]} and ${own ? own.size : "absent"} in x`,
      );
    }
    if (p.dtype !== x.dtype)
      throw new OpViolation("C2", `${names[i + 1]} is ${p.dtype} and x is ${x.dtype}`, "convert with cast(x, dtype)");
  });
  if (!(epsilon > 0)) throw new OpViolation("C3", `epsilon is ${epsilon}; it must be greater than 0`);
  return x;
}

/** Row means of f(x[i], i) over the normalized axes, broadcast to the elements of x. */
function rowMean(x: RefTensor, over: readonly string[], f: (v: number, i: number) => number): Float64Array {
  const row = tensorType(
    x.type.dtype,
    x.type.axes.filter((a) => !over.includes(a.name)),
  );
  const step = broadcastStrides(row, x.type);
  const rows = tabulate(x.type, (i) => offsetAt(i, step));
  const sums = new Float64Array(row.axes.reduce((n, a) => n * (a.size as number), 1));
  for (let i = 0; i < rows.length; i++) sums[rows[i]!]! += f(x.data[i]!, i);
  const count = x.data.length / sums.length;
  return rows.map((r) => sums[r]! / count);
}

/** A weight or bias broadcast to the elements of x; `missing` if there is none. */
function spread(p: RefTensor | undefined, x: RefTensor, missing: number): Float64Array {
  if (!p) return new Float64Array(x.data.length).fill(missing);
  const step = broadcastStrides(p.type, x.type);
  return tabulate(x.type, (i) => p.data[offsetAt(i, step)]!);
}

const x35 = tensorType("f32", [
  { name: "b", size: 3 },
  { name: "h", size: 2 },
  { name: "e", size: 5 },
]);
const e5 = tensorType("f32", [{ name: "e", size: 5 }]);
const he = tensorType("f32", [
  { name: "h", size: 2 },
  { name: "e", size: 5 },
]);
const unit = { low: -2, high: 2 };

const sumTo = (x: Node, like: Node): Node => {
  const extra = x.type.axes.filter((a) => !hasAxis(like.type, a.name)).map((a) => a.name);
  return extra.length === 0 ? x : reduceSum(x, extra);
};

const rootMeanSquare = (x: Node, over: readonly string[], epsilon: number): Node =>
  rsqrt(add(reduceMean(mul(x, x), over), epsilon));

record({
  name: "rms_norm",
  kind: "composite",
  doc: {
    summary: "x / sqrt(mean(x²) + ε) · weight, with the mean over the given axes, in f32.",
    source: "Zhang, Sennrich 2019, arXiv:1910.07467, equation 4",
  },
  half: "as_normalized",
  operands: ["x", "weight?"],
  roles: { weight: "weight" },
  attrs: normAttrs,
  constraints: normConstraints,
  infer: (t, attrs) => inferNorm(t, attrs.over as string[], attrs.epsilon as number, ["x", "weight"]),
  reference: ([x, weight], attrs) => {
    const square = rowMean(x!, attrs.over as string[], (v) => v * v);
    const w = spread(weight, x!, 1);
    return x!.data.map((v, i) => (v / Math.sqrt(square[i]! + (attrs.epsilon as number))) * w[i]!);
  },
  gradient: (node, dy) => {
    const [x, weight] = node.operands as [Node, Node | undefined];
    const over = node.attrs.over as string[];
    const r = rootMeanSquare(x, over, node.attrs.epsilon as number);
    const g = weight ? mul(dy, weight) : dy;
    const projected = reduceMean(mul(g, x), over);
    const dx = mul(r, sub(g, mul(x, mul(mul(r, r), projected)))); // r·(g − x·r²·mean(g·x))
    return weight ? [dx, sumTo(mul(dy, mul(x, r)), weight)] : [dx];
  },
  decompose: ([x, weight], attrs) => {
    const normed = mul(x!, rootMeanSquare(x!, attrs.over as string[], attrs.epsilon as number));
    return weight ? mul(normed, weight) : normed;
  },
  onnx: { type: "RMSNormalization", since: 23 },
  samples: [unit, { low: 0.5, high: 1.5 }],
  cases: [
    { operands: [x35, e5], attrs: { over: ["e"], epsilon: 1e-6 } },
    { operands: [x35, he], attrs: { over: ["h", "e"], epsilon: 1e-6 } },
    { operands: [x35], attrs: { over: ["e"], epsilon: 1e-3 } },
  ],
  tolerance: { f32: { absolute: 1e-5, relative: 1e-5 } },
});

/** RMS norm of x over the named axes, scaled by `weight` if given. */
export const rmsNorm = (x: Node, weight: Node | undefined, over: readonly string[], epsilon: number): Node =>
  build("rms_norm", weight ? [x, weight] : [x], { over, epsilon });

record({
  name: "layer_norm",
  kind: "composite",
  doc: {
    summary:
      "(x − mean) / sqrt(variance + ε) · weight + bias, with the mean and the biased variance over the given axes, in f32.",
    source: "Ba, Kiros, Hinton 2016, arXiv:1607.06450",
  },
  half: "as_normalized",
  operands: ["x", "weight", "bias"],
  roles: { weight: "weight", bias: "weight" },
  attrs: normAttrs,
  constraints: normConstraints,
  infer: (t, attrs) => inferNorm(t, attrs.over as string[], attrs.epsilon as number, ["x", "weight", "bias"]),
  reference: ([x, weight, bias], attrs) => {
    const mean = rowMean(x!, attrs.over as string[], (v) => v);
    const variance = rowMean(x!, attrs.over as string[], (v, i) => (v - mean[i]!) ** 2);
    const [w, b] = [spread(weight, x!, 1), spread(bias, x!, 0)];
    return x!.data.map(
      (v, i) => ((v - mean[i]!) / Math.sqrt(variance[i]! + (attrs.epsilon as number))) * w[i]! + b[i]!,
    );
  },
  gradient: (node, dy) => {
    const [x, weight, bias] = node.operands as [Node, Node, Node];
    const over = node.attrs.over as string[];
    const [centred, r] = centreAndScale(x, over, node.attrs.epsilon as number);
    const normed = mul(centred, r);
    // A weight constant over each row, as in batch norm, factors out of the sums: two sums serve all three gradients.
    if ([weight, bias].every((p) => !over.some((n) => hasAxis(p.type, n)))) {
      const along = mul(r, reduceSum(mul(dy, centred), over));
      const count = sizeOf(productOfDims(over.map((n) => findAxis(x.type, n)!.size)), x.type.dtype);
      const apart = sub(sub(dy, reduceMean(dy, over)), mul(normed, div(along, count)));
      return [mul(mul(r, weight), apart), sumTo(along, weight), sumTo(reduceSum(dy, over), bias)];
    }
    const g = mul(dy, weight);
    const dx = mul(r, sub(sub(g, reduceMean(g, over)), mul(normed, reduceMean(mul(g, normed), over))));
    return [dx, sumTo(mul(dy, normed), weight), sumTo(dy, bias)];
  },
  decompose: ([x, weight, bias], attrs) => {
    const [centred, r] = centreAndScale(x!, attrs.over as string[], attrs.epsilon as number);
    return add(mul(mul(centred, r), weight!), bias!);
  },
  onnx: { type: "LayerNormalization", since: 17 },
  samples: [unit, { low: 0.5, high: 1.5 }, unit],
  cases: [
    { operands: [x35, e5, e5], attrs: { over: ["e"], epsilon: 1e-5 } },
    { operands: [x35, he, he], attrs: { over: ["h", "e"], epsilon: 1e-5 } },
    { operands: [x35, e5, e5], attrs: { over: ["b", "h"], epsilon: 1e-5 } },
  ],
  tolerance: { f32: { absolute: 1e-5, relative: 1e-5 } },
});

function centreAndScale(x: Node, over: readonly string[], epsilon: number): [Node, Node] {
  const centred = sub(x, reduceMean(x, over));
  return [centred, rsqrt(add(reduceMean(mul(centred, centred), over), epsilon))];
}

/** Layer norm of x over the named axes. */
export const layerNorm = (x: Node, weight: Node, bias: Node, over: readonly string[], epsilon: number): Node =>
  build("layer_norm", [x, weight, bias], { over, epsilon });

/** x scaled to unit L2 norm over the named axes: divides by sqrt(Σ x² + ε²). */
export function l2Normalize(x: Node, over: readonly string[], epsilon = 1e-12): Node {
  return mul(x, rsqrt(add(reduceSum(mul(x, x), over), epsilon * epsilon)));
}
