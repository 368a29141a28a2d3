/** Reductions over named axes, and the composites made of them: softmax, log-sum-exp, mean. */
import { build } from "../ir/build.ts";
import { productOfDims } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { type OpRecord, OpViolation, type RefTensor, type SpecialValue } from "../ir/op.ts";
import { type Axis, elementsOf, findAxis, type TensorType, tensorType } from "../ir/type.ts";
import { add, cast, div, eq, exp, log, mul, sub } from "./elementwise.ts";
import { inf, nan, record, requireAxes, tabulate } from "./kinds.ts";
import { broadcastStrides, strideOf, strides } from "./reference-tools.ts";
import { sizeOf } from "./sources.ts";

/** Special values of one row: its elements, then the result. */
const ofRow = (...all: readonly (readonly [readonly number[], number])[]): SpecialValue[] =>
  all.map(([elements, result]) => ({ operands: [elements], result }));

const xy: TensorType = tensorType("f32", [
  { name: "a", size: 3 },
  { name: "b", size: 5 },
  { name: "c", size: 2 },
]);

function inferReduce([x]: readonly TensorType[], over: readonly string[]): TensorType {
  requireAxes(x!, over, "C1", "x");
  if (over.length === 0) throw new OpViolation("C2", "no axis is reduced");
  if (x!.dtype === "bool") throw new OpViolation("C3", "a bool cannot be reduced", "cast it to i32 or f32 first");
  return tensorType(
    x!.dtype,
    x!.axes.filter((a) => !over.includes(a.name)),
  );
}

/** One operation for each element that is folded. */
const oneEach: OpRecord["work"] = ([x]) => ({ macs: 0, others: elementsOf(x!) });

const reduceConstraints = {
  C1: "the reduced axes are axes of x",
  C2: "at least one axis is reduced",
  C3: "x is a number, not a bool",
};

/** Folds `f` over the axes named, in row-major order. */
function fold(
  x: RefTensor,
  over: readonly string[],
  type: TensorType,
  start: number,
  f: (acc: number, v: number) => number,
) {
  const out = new Float64Array(type.axes.reduce((n, a) => n * (a.size as number), 1)).fill(start);
  const step = strides(x.type);
  const to = x.type.axes.map((a) => (over.includes(a.name) ? 0 : strideOf(type, a.name)));
  for (let i = 0; i < x.data.length; i++) {
    let at = 0;
    for (let d = 0; d < step.length; d++) at += (Math.floor(i / step[d]!) % (x.type.axes[d]!.size as number)) * to[d]!;
    out[at] = f(out[at]!, x.data[i]!);
  }
  return out;
}

record({
  name: "reduce_sum",
  kind: "reduction",
  doc: { summary: "The sum over the axes named; floats accumulate in f32 whatever the dtype." },
  operands: ["x"],
  core: { kind: "row_reduction", over: (attrs) => attrs.over as string[] },
  work: oneEach,
  attrs: { over: { kind: "axes" } },
  constraints: reduceConstraints,
  infer: (t, attrs) => inferReduce(t, attrs.over as string[]),
  reference: ([x], attrs, type) => fold(x!, attrs.over as string[], type, 0, (a, v) => a + v),
  // dy lacks the reduced axes, and broadcasting by name puts them back where it is used.
  gradient: (node, dy) => [broadcastLike(dy, node.operands[0]!)],
  special: ofRow([[nan, 1, 2], nan], [[inf, 1, 2], inf], [[inf, -inf, 1], nan], [[3e38, 3e38, 3e38], inf]),
  samples: [{ low: -2, high: 2 }],
  cases: [
    { operands: [xy], attrs: { over: ["b"] } },
    { operands: [xy], attrs: { over: ["a", "c"] } },
    { operands: [xy], attrs: { over: ["a", "b", "c"] } },
  ],
});

record({
  name: "reduce_max",
  kind: "reduction",
  doc: { summary: "The largest value over the axes named; the cotangent is shared equally by ties." },
  operands: ["x"],
  core: { kind: "row_reduction", over: (attrs) => attrs.over as string[] },
  work: oneEach,
  attrs: { over: { kind: "axes" } },
  constraints: reduceConstraints,
  infer: (t, attrs) => inferReduce(t, attrs.over as string[]),
  reference: ([x], attrs, type) => fold(x!, attrs.over as string[], type, Number.NEGATIVE_INFINITY, Math.max),
  gradient: (node, dy) => {
    const x = node.operands[0]!;
    const winners = cast(eq(x, node), x.type.dtype);
    return [div(mul(winners, dy), reduceSum(winners, node.attrs.over as string[]))];
  },
  special: ofRow(
    [[nan, 1, 2], nan],
    [[1, nan, 2], nan],
    [[1, 2, nan], nan],
    [[inf, 1, 2], inf],
    [[-inf, 1, 2], 2],
    [[-inf, -inf, -inf], -inf],
  ),
  samples: [{ low: -2, high: 2 }],
  cases: [
    { operands: [xy], attrs: { over: ["b"] } },
    { operands: [xy], attrs: { over: ["c", "a"] } },
  ],
});

/** The sum over axes. */
export const reduceSum = (x: Node, over: readonly string[]): Node => build("reduce_sum", [x], { over });
/** The maximum over axes. */
export const reduceMax = (x: Node, over: readonly string[]): Node => build("reduce_max", [x], { over });

/** The mean over axes. */
export function reduceMean(x: Node, over: readonly string[]): Node {
  const total = reduceSum(x, over);
  const count = productOfDims(over.map((n) => findAxis(x.type, n)!.size));
  return typeof count === "number" ? mul(total, 1 / count) : div(total, sizeOf(count, x.type.dtype));
}

record({
  name: "argmax",
  kind: "indexing",
  doc: { summary: "The index of the largest value along one axis, the first on a tie; i32." },
  operands: ["x"],
  core: { kind: "row_reduction", over: (attrs) => [attrs.axis as string] },
  work: oneEach,
  attrs: { axis: { kind: "axis" } },
  constraints: { C1: "the axis is an axis of x" },
  infer: ([x], attrs) => {
    requireAxes(x!, [attrs.axis as string], "C1", "x");
    return tensorType(
      "i32",
      x!.axes.filter((a) => a.name !== attrs.axis),
    );
  },
  reference: ([x], attrs, type) => {
    const step = broadcastStrides(x!.type, type);
    const along = strideOf(x!.type, attrs.axis as string);
    const size = findAxis(x!.type, attrs.axis as string)!.size as number;
    return tabulate(type, (index) => {
      const base = index.reduce((n, v, d) => n + v * step[d]!, 0);
      let best = 0;
      for (let i = 1; i < size; i++) if (x!.data[base + i * along]! > x!.data[base + best * along]!) best = i;
      return best;
    });
  },
  flat: true,
  special: ofRow(
    [[nan, 1, 2], 0],
    [[1, nan, 2], 2],
    [[1, 2, nan], 1],
    [[-inf, inf, inf], 1],
    [[-inf, -inf, -inf], 0],
    [[nan, nan, nan], 0],
  ),
  samples: [{ low: -2, high: 2 }],
  cases: [{ operands: [xy], attrs: { axis: "b" } }],
});

/** The index of the largest value along `axis`. */
export const argmax = (x: Node, axis: string): Node => build("argmax", [x], { axis });

record({
  name: "broadcast",
  kind: "movement",
  doc: {
    summary:
      "The same values along axes that x lacks. Elementwise ops broadcast by themselves; this makes it explicit.",
  },
  operands: ["x"],
  attrs: { axes: { kind: "sized_axes" } },
  constraints: { C1: "x has none of the new axes" },
  infer: ([x], attrs) => {
    const axes = attrs.axes as unknown as Axis[];
    const clash = axes.find((a) => findAxis(x!, a.name));
    if (clash) throw new OpViolation("C1", `x already has the axis "${clash.name}"`);
    return tensorType(x!.dtype, [...axes, ...x!.axes]);
  },
  reference: ([x], _, type) => {
    const step = broadcastStrides(x!.type, type);
    return tabulate(type, (index) => x!.data[index.reduce((n, v, d) => n + v * step[d]!, 0)]!);
  },
  gradient: (node, dy) => [
    reduceSum(
      dy,
      (node.attrs.axes as unknown as Axis[]).map((a) => a.name),
    ),
  ],
  samples: [{ low: -2, high: 2 }],
  cases: [{ operands: [xy], attrs: { axes: [{ name: "d", size: 4 }] } }],
});

/** x repeated along new axes, which come first. */
export const broadcast = (x: Node, axes: readonly Axis[]): Node =>
  axes.length === 0 ? x : build("broadcast", [x], { axes: axes.map((a) => ({ name: a.name, size: a.size })) });

/** x with every axis that `like` has and x lacks. */
export const broadcastLike = (x: Node, like: Node): Node =>
  broadcast(
    x,
    like.type.axes.filter((a) => !findAxis(x.type, a.name)),
  );

/**
 * The parts of softmax along one axis. Each subtracts the maximum first: exp never overflows, and no difference of two
 * large values is formed after one of them was rounded, as log Σ exp − x would be.
 */
export interface SoftmaxParts {
  /** max x */
  readonly top: Node;
  /** x − max x, never above 0 */
  readonly shifted: Node;
  /** exp(x − max x) */
  readonly raised: Node;
  /** Σ exp(x − max x), at least 1 */
  readonly total: Node;
}

export function softmaxParts(x: Node, axis: string): SoftmaxParts {
  const top = reduceMax(x, [axis]);
  const shifted = sub(x, top);
  const raised = exp(shifted);
  return { top, shifted, raised, total: reduceSum(raised, [axis]) };
}

const rowConstraints = { C1: "the axis is an axis of x" };
const floatRow = (x: TensorType, axis: string) => {
  requireAxes(x, [axis], "C1", "x");
  return x;
};

record({
  name: "softmax",
  kind: "composite",
  doc: { summary: "exp(x - max) / sum(exp(x - max)) along one axis." },
  operands: ["x"],
  attrs: { axis: { kind: "axis" } },
  constraints: rowConstraints,
  infer: ([x], attrs) => floatRow(x!, attrs.axis as string),
  reference: ([x], attrs, type) => {
    const axis = attrs.axis as string;
    const row = tensorType(
      type.dtype,
      type.axes.filter((a) => a.name !== axis),
    );
    const top = fold(x!, [axis], row, Number.NEGATIVE_INFINITY, Math.max);
    const step = broadcastStrides(row, type);
    const raised = tabulate(type, (i) => i.reduce((n, v, d) => n + v * step[d]!, 0)).map((r, i) =>
      Math.exp(x!.data[i]! - top[r]!),
    );
    const total = fold({ type, data: raised }, [axis], row, 0, (a, v) => a + v);
    return tabulate(type, (i) => i.reduce((n, v, d) => n + v * step[d]!, 0)).map((r, i) => raised[i]! / total[r]!);
  },
  gradient: (node, dy) => {
    const weighted = mul(dy, node);
    return [sub(weighted, mul(node, reduceSum(weighted, [node.attrs.axis as string])))]; // y · (dy − Σ dy·y)
  },
  decompose: ([x], attrs) => {
    const { raised, total } = softmaxParts(x!, attrs.axis as string);
    return div(raised, total);
  },
  onnx: { type: "Softmax", since: 13 },
  samples: [{ low: -4, high: 4 }],
  cases: [
    { operands: [xy], attrs: { axis: "b" } },
    { operands: [xy], attrs: { axis: "a" } },
  ],
});

/** Softmax along `axis`. */
export const softmax = (x: Node, axis: string): Node => build("softmax", [x], { axis });

record({
  name: "logsumexp",
  kind: "composite",
  doc: { summary: "log(sum(exp(x))) along one axis, without overflow." },
  operands: ["x"],
  attrs: { axis: { kind: "axis" } },
  constraints: rowConstraints,
  infer: ([x], attrs) => {
    floatRow(x!, attrs.axis as string);
    return tensorType(
      x!.dtype,
      x!.axes.filter((a) => a.name !== attrs.axis),
    );
  },
  reference: ([x], attrs, type) => {
    const over = [attrs.axis as string];
    const top = fold(x!, over, type, Number.NEGATIVE_INFINITY, Math.max);
    const step = broadcastStrides(type, x!.type);
    const raised = tabulate(x!.type, (i) => i.reduce((n, v, d) => n + v * step[d]!, 0)).map((r, i) =>
      Math.exp(x!.data[i]! - top[r]!),
    );
    return fold({ type: x!.type, data: raised }, over, type, 0, (a, v) => a + v).map((s, i) => Math.log(s) + top[i]!);
  },
  gradient: (node, dy) => [mul(dy, softmax(node.operands[0]!, node.attrs.axis as string))],
  decompose: ([x], attrs) => {
    const { top, total } = softmaxParts(x!, attrs.axis as string);
    return add(log(total), top);
  },
  samples: [{ low: -4, high: 4 }],
  cases: [
    { operands: [xy], attrs: { axis: "b" } },
    { operands: [xy], attrs: { axis: "c" } },
  ],
});

/** log Σ exp along `axis`. */
export const logsumexp = (x: Node, axis: string): Node => build("logsumexp", [x], { axis });

record({
  name: "log_softmax",
  kind: "composite",
  doc: { summary: "x − max x − log Σ exp(x − max x) along one axis: the logarithm of softmax, for any size of x." },
  operands: ["x"],
  attrs: { axis: { kind: "axis" } },
  constraints: rowConstraints,
  infer: ([x], attrs) => floatRow(x!, attrs.axis as string),
  reference: ([x], attrs, type) => {
    const over = [attrs.axis as string];
    const row = tensorType(
      type.dtype,
      type.axes.filter((a) => !over.includes(a.name)),
    );
    const step = broadcastStrides(row, type);
    const rowOf = tabulate(type, (i) => i.reduce((n, v, d) => n + v * step[d]!, 0));
    const top = fold(x!, over, row, Number.NEGATIVE_INFINITY, Math.max);
    const shifted = rowOf.map((r, i) => x!.data[i]! - top[r]!);
    const total = fold({ type, data: shifted }, over, row, 0, (a, v) => a + Math.exp(v));
    return rowOf.map((r, i) => shifted[i]! - Math.log(total[r]!));
  },
  gradient: (node, dy) => {
    const axis = node.attrs.axis as string;
    return [sub(dy, mul(softmax(node.operands[0]!, axis), reduceSum(dy, [axis])))]; // dy − softmax · Σ dy
  },
  decompose: ([x], attrs) => {
    const { shifted, total } = softmaxParts(x!, attrs.axis as string);
    return sub(shifted, log(total));
  },
  samples: [{ low: -4, high: 4 }],
  cases: [
    { operands: [xy], attrs: { axis: "b" } },
    { operands: [xy], attrs: { axis: "c" } },
  ],
});

/** log softmax along `axis`. */
export const logSoftmax = (x: Node, axis: string): Node => build("log_softmax", [x], { axis });

/** 1 where `index` points along `axis`, else 0; in `dtype`. */
export const oneHot = (index: Node, positions: Node, dtype: "f32" | "f16"): Node => cast(eq(positions, index), dtype);
