/** Reductions over named axes, broadcast, and composites such as softmax, log-sum-exp and mean. */
import type { Fold } from "../ir/algebra.ts";
import { build } from "../ir/build.ts";
import { productOfDims } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { OpViolation, type SpecialValue } from "../ir/op.ts";
import { type Axis, findAxis, type TensorType, tensorType } from "../ir/type.ts";
import { add, cast, div, eq, exp, log, mul, select, sub } from "./elementwise.ts";
import { type Builder, inf, nan, record, requireAxes, tabulate } from "./kinds.ts";
import { movement } from "./movement-kind.ts";
import { foldNumbers, foldWork, type Reduction, reduction } from "./reduction-kind.ts";
import { broadcastStrides, offsetAt } from "./reference-tools.ts";
import { sizeOf } from "./sources.ts";

/** Special values of one row: its elements, then the result. */
const ofRow = (...all: readonly (readonly [readonly number[], number])[]): SpecialValue[] =>
  all.map(([elements, result]) => ({ operands: [elements], result }));

const xy: TensorType = tensorType("f32", [
  { name: "a", size: 3 },
  { name: "b", size: 5 },
  { name: "c", size: 2 },
]);

export const reduceSum: Reduction = reduction({
  name: "reduce_sum",
  doc: { summary: "The sum over the given axes; floats accumulate in f32 whatever the dtype." },
  fold: { accumulators: [{ start: 0 }], merge: (s, [a], [b]) => [s.add(a!, b!)], repeated: "times" },
  // dy lacks the reduced axes: broadcast it back.
  gradient: (x, _over, dy) => broadcastLike(dy, x),
  onnx: { type: "ReduceSum", since: 13 },
  special: ofRow([[nan, 1, 2], nan], [[inf, 1, 2], inf], [[inf, -inf, 1], nan], [[3e38, 3e38, 3e38], inf]),
});

/** Routes the cotangent to a row's extreme values, divided equally among ties. */
const toExtremes = (x: Node, over: readonly string[], dy: Node, extreme: Node): Node => {
  const winners = cast(eq(x, extreme), x.type.dtype);
  return div(mul(winners, dy), reduceSum(winners, over));
};

export const reduceMax: Reduction = reduction({
  name: "reduce_max",
  doc: { summary: "The largest value over the given axes; ties share the cotangent equally." },
  fold: { accumulators: [{ start: "lowest" }], merge: (s, [a], [b]) => [s.max(a!, b!)], repeated: "same" },
  gradient: toExtremes,
  onnx: { type: "ReduceMax", since: 13 },
  special: ofRow(
    [[nan, 1, 2], nan],
    [[1, nan, 2], nan],
    [[1, 2, nan], nan],
    [[inf, 1, 2], inf],
    [[-inf, 1, 2], 2],
    [[-inf, -inf, -inf], -inf],
  ),
});

export const reduceMin: Reduction = reduction({
  name: "reduce_min",
  doc: { summary: "The smallest value over the given axes; ties share the cotangent equally." },
  fold: { accumulators: [{ start: "highest" }], merge: (s, [a], [b]) => [s.min(a!, b!)], repeated: "same" },
  gradient: toExtremes,
  onnx: { type: "ReduceMin", since: 13 },
  special: ofRow(
    [[nan, 1, 2], nan],
    [[1, nan, 2], nan],
    [[1, 2, nan], nan],
    [[-inf, 1, 2], -inf],
    [[inf, 1, 2], 1],
    [[inf, inf, inf], inf],
  ),
});

export const reduceProd: Reduction = reduction({
  name: "reduce_prod",
  doc: {
    summary:
      "The product over the given axes; floats accumulate in f32. The gradient is also correct where elements are 0.",
  },
  fold: { accumulators: [{ start: 1 }], merge: (s, [a], [b]) => [s.mul(a!, b!)] },
  gradient: (x, over, dy) => {
    // The product of the other elements: prod / x if no element is 0; the product of the nonzero ones where x is the
    // only 0.
    const isZero = eq(x, 0);
    const zeros = reduceSum(cast(isZero, x.type.dtype), over);
    const rest = reduceProd(select(isZero, 1, x), over);
    const others = select(
      isZero,
      select(eq(zeros, 1), rest, 0),
      select(eq(zeros, 0), div(rest, select(isZero, 1, x)), 0),
    );
    return mul(dy, others);
  },
  onnx: { type: "ReduceProd", since: 13 },
  special: ofRow([[nan, 0, 2], nan], [[inf, 0, 2], nan], [[inf, -1, 2], -inf], [[0, -1, 2], -0], [[3e38, 10, 1], inf]),
});

/** The mean over axes. */
export function reduceMean(x: Node, over: readonly string[]): Node {
  const total = reduceSum(x, over);
  const count = productOfDims(over.map((n) => findAxis(x.type, n)!.size));
  return typeof count === "number" ? mul(total, 1 / count) : div(total, sizeOf(count, x.type.dtype));
}

/** The running maximum and its position, the first on a tie. */
const largestAt: Fold = {
  accumulators: [{ start: "lowest" }, { start: 0, holds: "position" }],
  lift: (_, [value], position) => [value!, position],
  merge: (s, [a, at], [b, bt]) => {
    const first = s.and(s.equal(a!, b!), s.less(bt!, at!));
    return [s.select(s.less(a!, b!), b!, a!), s.select(s.or(s.less(a!, b!), first), bt!, at!)];
  },
  finish: (_, [, at]) => at!,
};

record({
  name: "argmax",
  kind: "indexing",
  doc: { summary: "The index of the largest value along one axis, as i32; the first on a tie." },
  operands: ["x"],
  core: { kind: "row_reduction", over: (attrs) => [attrs.axis as string], fold: largestAt },
  work: foldWork,
  attrs: { axis: { kind: "axis" } },
  constraints: { C1: "the axis is an axis of x", C2: "x is numeric, not bool" },
  infer: ([x], attrs) => {
    requireAxes(x!, [attrs.axis as string], "C1", "x");
    if (x!.dtype === "bool") throw new OpViolation("C2", "bools have no order", "cast it to i32 first");
    return tensorType(
      "i32",
      x!.axes.filter((a) => a.name !== attrs.axis),
    );
  },
  reference: (operands, attrs, type) => foldNumbers(largestAt, operands, [attrs.axis as string], type),
  flat: true,
  special: ofRow(
    [[nan, 1, 2], 2],
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

/** x broadcast along new axes, which come first. */
export const broadcast: Builder<(x: Node, axes: readonly Axis[]) => Node> = movement({
  name: "broadcast",
  doc: {
    summary: "x repeated along new axes. Elementwise ops broadcast implicitly; this op makes it explicit.",
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
  indexMap: () => ({ sources: [{ index: () => ({}) }] }),
  gradient: (node, dy) => [
    reduceSum(
      dy,
      (node.attrs.axes as unknown as Axis[]).map((a) => a.name),
    ),
  ],
  samples: [{ low: -2, high: 2 }],
  cases: [{ operands: [xy], attrs: { axes: [{ name: "d", size: 4 }] } }],
  builder: (x, axes) =>
    axes.length === 0 ? x : build("broadcast", [x], { axes: axes.map((a) => ({ name: a.name, size: a.size })) }),
});

/** x broadcast along every axis of `like` that it lacks. */
export const broadcastLike = (x: Node, like: Node): Node =>
  broadcast(
    x,
    like.type.axes.filter((a) => !findAxis(x.type, a.name)),
  );

/**
 * The parts of softmax along one axis. The maximum is subtracted first, so exp never overflows, and no large rounded
 * values are subtracted, as in log Σ exp − x.
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
  half: "safe",
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
    const top = reduceMax.record.reference([x!], { over: [axis] }, row);
    const step = broadcastStrides(row, type);
    const raised = tabulate(type, (i) => offsetAt(i, step)).map((r, i) => Math.exp(x!.data[i]! - top[r]!));
    const total = reduceSum.record.reference([{ type, data: raised }], { over: [axis] }, row);
    return tabulate(type, (i) => offsetAt(i, step)).map((r, i) => raised[i]! / total[r]!);
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
  doc: {
    summary:
      "log(sum(exp(x))) along one axis, without overflow; -inf where every element is -inf (nan in exported ONNX).",
  },
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
    const top = reduceMax.record.reference([x!], { over: over }, type);
    const step = broadcastStrides(type, x!.type);
    const raised = tabulate(x!.type, (i) => offsetAt(i, step)).map((r, i) => Math.exp(x!.data[i]! - top[r]!));
    return reduceSum.record
      .reference([{ type: x!.type, data: raised }], { over }, type)
      .map((s, i) => (top[i] === Number.NEGATIVE_INFINITY ? top[i]! : Math.log(s) + top[i]!));
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
  doc: { summary: "x − max x − log Σ exp(x − max x) along one axis: the logarithm of softmax, without overflow." },
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
    const rowOf = tabulate(type, (i) => offsetAt(i, step));
    const top = reduceMax.record.reference([x!], { over }, row);
    const shifted = rowOf.map((r, i) => x!.data[i]! - top[r]!);
    const total = reduceSum.record.reference([{ type, data: shifted.map(Math.exp) }], { over }, row);
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

/** 1 where `positions` equals `index`, else 0; in `dtype`. */
export const oneHot = (index: Node, positions: Node, dtype: "f32" | "f16"): Node => cast(eq(positions, index), dtype);
