/** Reductions, softmax, argmax and argmin, top-k, cumulative sums. */
import { type Dim, type Node, ops, productOfDims } from "../../../../compiler/index.ts";
import { held, int64 } from "../elements.ts";
import type { NodeView } from "../node-view.ts";
import type { ImportRecord, Records } from "../record.ts";
import { elements, freshName, known, type Tensor, tensor, type Value } from "../values.ts";
import { reshapeTo } from "./shapes.ts";

const { abs, add, cast, div, eq, exp, log, mul, reduceMax, reduceMin, reduceProd, reduceSum, sqrt, sub } = ops;

/** The reduced dimensions, from an operand or attribute; default: all. */
function overOf(n: NodeView, rank: number): number[] | undefined {
  const axes = n.list("axes", 1);
  const none = axes === undefined || axes.length === 0;
  if (none && n.flag("noop_with_empty_axes")) return undefined;
  return none ? Array.from({ length: rank }, (_, i) => i) : n.dims(axes, rank);
}

export interface Fold {
  /** Reduces the axes; `count` is the number of elements per result. */
  readonly reduce: (x: Node, over: readonly string[], count: Dim) => Node;
  /** Elementwise map before the reduction. */
  readonly each?: (x: Node) => Node;
  /** The result for zero elements. */
  readonly nothing?: number;
}

export function reduceOver(x: Tensor, at: readonly number[], keep: boolean, { reduce, each }: Fold): Tensor {
  const over = at.flatMap((i) => x.axes[i] ?? []);
  const count = productOfDims(at.map((i) => x.shape[i]!));
  const lifted = each ? each(x.node) : x.node;
  const node = reduce(lifted, over, count);
  const kept = x.shape.map((_, i) => i).filter((i) => keep || !at.includes(i));
  const shape = kept.map((i): Dim => (at.includes(i) ? 1 : x.shape[i]!));
  return tensor(
    x.type,
    shape,
    kept.map((i) => x.axes[i]),
    node,
  );
}

const overAxes = (make: (x: Node, over: readonly string[]) => Node) => (x: Node, over: readonly string[]) =>
  over.length === 0 ? x : make(x, over);
const total = overAxes((x, over) => reduceSum(x, over));
const extreme = (make: (x: Node, over: readonly string[]) => Node) =>
  overAxes((x, over) => (x.type.dtype === "bool" ? cast(make(cast(x, "i32"), over), "bool") : make(x, over)));

function reduction(fold: Fold): ImportRecord {
  return {
    build: (n) => {
      const value = n.in(0);
      const at = overOf(n, value.shape.length);
      if (at && elements(value) === 0) return ofNothing(n, value, at, fold);
      const x = n.x(0);
      if (!at) return { ...x, node: fold.reduce(fold.each ? fold.each(x.node) : x.node, [], 1) };
      return reduceOver(x, at, n.flag("keepdims", true), fold);
    },
  };
}

function ofNothing(n: NodeView, x: Value, at: readonly number[], { nothing }: Fold): Value {
  if (nothing === undefined) throw n.fail("reductions of empty tensors are not supported");
  const keep = n.flag("keepdims", true);
  const shape = x.shape.flatMap((d, i) => (at.includes(i) ? (keep ? [1 as Dim] : []) : [d]));
  const count = elements({ type: x.type, shape });
  if (typeof count !== "number" || !(count >= 0 && count <= 2 ** 16))
    throw n.fail(`cannot reduce an empty tensor to ${count} elements`);
  return known(x.type, shape, new Float64Array(count).fill(held(x.type, nothing)));
}

const mean = (x: Node, count: Dim): Node => {
  if (typeof count === "number")
    return x.type.dtype === "i32" || x.type.dtype === "u32" ? ops.idiv(x, count) : mul(x, 1 / count);
  return div(x, ops.sizeOf(count, x.type.dtype));
};

/** Stable logsumexp over several axes. */
function logSumExp(x: Node, over: readonly string[]): Node {
  if (over.length === 0) return x;
  if (over.length === 1) return ops.logsumexp(x, over[0]!);
  const top = reduceMax(x, over);
  return add(top, log(reduceSum(exp(sub(x, top)), over)));
}

/** Along one dimension; before opset 13, along all dimensions from `axis` on, flattened. */
function alongAxis(make: (x: Node, axis: string) => Node, single: (x: Node) => Node): ImportRecord {
  return {
    build: (n) => {
      const x = n.x(0);
      const rank = x.shape.length;
      const at = n.dim(n.int("axis", n.opset < 13 ? 1 : -1), rank);
      if (n.opset < 13 && x.shape.slice(at + 1).some((d) => d !== 1)) {
        const rows = productOfDims(x.shape.slice(0, at));
        const flat = n.tensor(reshapeTo(n, x, [rows, productOfDims(x.shape.slice(at))]));
        const made = flat.axes[1] === undefined ? single(flat.node) : make(flat.node, flat.axes[1]);
        return reshapeTo(n, { ...flat, node: made }, x.shape);
      }
      const axis = x.axes[at];
      return { ...x, node: axis === undefined ? single(x.node) : make(x.node, axis) };
    },
  };
}

const constantLike = (value: number, x: Node): Node => ops.broadcastLike(ops.constant(value, x.type.dtype), x);

/** Argmax or argmin; ties go to the first or the last element. */
function arg(sign: 1 | -1): ImportRecord {
  return {
    build: (n) => {
      const x = n.x(0);
      const at = n.dim(n.int("axis", 0), x.shape.length);
      const axis = x.axes[at];
      const keep = n.flag("keepdims", true);
      const kept = x.shape.map((_, i) => i).filter((i) => keep || i !== at);
      const shape = kept.map((i): Dim => (i === at ? 1 : x.shape[i]!));
      const names = kept.map((i) => x.axes[i]);
      if (axis === undefined) return tensor(int64, shape, names, constantLike(0, cast(x.node, "i32")));
      const node = sign === 1 ? x.node : ops.neg(x.node);
      if (!n.flag("select_last_index")) return tensor(int64, shape, names, ops.argmax(node, axis));
      const places = ops.iota({ name: axis, size: x.shape[at]! }, "i32");
      const last = reduceMax(ops.select(eq(node, reduceMax(node, [axis])), places, -1), [axis]);
      return tensor(int64, shape, names, last);
    },
  };
}

/** Cumulative sum or product, as a masked reduction: quadratic in the dimension, but for any type. */
function running(reduce: (x: Node, over: readonly string[]) => Node, neutral: number): ImportRecord {
  return {
    build: (n) => {
      const x = n.x(0);
      const at = n.dim(n.numberIn(1, "the axis"), x.shape.length);
      const axis = x.axes[at];
      const exclusive = n.flag("exclusive");
      if (axis === undefined) return exclusive ? { ...x, node: constantLike(neutral, x.node) } : x;
      const own = freshName(axis, x.axes);
      const [from, to] = [axis, own].map((name) => ops.iota({ name, size: x.shape[at]! }, "i32")) as [Node, Node];
      const [low, high] = n.flag("reverse") ? [to, from] : [from, to];
      const counts = exclusive ? ops.lt(low, high) : ops.le(low, high);
      const masked = ops.select(counts, x.node, ops.constant(neutral, x.node.type.dtype));
      return { ...x, node: ops.rename(reduce(masked, [axis]), own, axis) };
    },
  };
}

function hardmax(x: Node, axis: string): Node {
  const size = x.type.axes.find((a) => a.name === axis)!.size;
  return cast(eq(ops.iota({ name: axis, size }, "i32"), ops.argmax(x, axis)), x.type.dtype);
}

/** Top-k by rank: an element's rank is the number of elements that precede it in the order. */
function topK(n: NodeView): readonly Value[] {
  const x = n.x(0);
  const at = n.dim(n.int("axis", -1), x.shape.length);
  const count = n.number(1, "k") ?? n.int("k");
  const axis = x.axes[at];
  const size = x.shape[at]!;
  if (!(count >= 1) || (typeof size === "number" && count > size))
    throw n.fail(`cannot select the top ${count} of ${size} elements`);
  const shape = x.shape.map((d, i) => (i === at ? count : d));
  if (axis === undefined) return [x, tensor(int64, shape, x.axes, constantLike(0, cast(x.node, "i32")))];
  const other = freshName(axis, x.axes);
  const rivals = ops.rename(x.node, axis, other);
  const [mine, theirs] = [axis, other].map((name) => ops.iota({ name, size }, "i32")) as [Node, Node];
  const better = n.flag("largest", true) ? ops.gt(rivals, x.node) : ops.lt(rivals, x.node);
  const before = ops.or(better, ops.and(eq(rivals, x.node), ops.lt(theirs, mine)));
  const rank = reduceSum(cast(before, "i32"), [other]); // elements preceding each
  const place = freshName(axis, [...x.axes, other]);
  const hit = count === 1 ? eq(rank, 0) : eq(rank, ops.iota({ name: place, size: count }, "i32"));
  const index = reduceMax(ops.select(hit, mine, -1), [axis]);
  const named = (node: Node) => (count === 1 ? node : ops.rename(node, place, axis));
  const values = ops.gather(x.node, index, axis);
  return [tensor(x.type, shape, x.axes, named(values)), tensor(int64, shape, x.axes, named(index))];
}

/** The Lp norm. */
function lp(x: Node, over: readonly string[], p: number): Node {
  if (p === 1) return total(abs(x), over);
  if (p === 2) return sqrt(total(mul(x, x), over));
  return ops.pow(total(ops.pow(abs(x), p), over), 1 / p);
}

function lpNormalization(n: NodeView): Value {
  const x = n.x(0);
  const axis = x.axes[n.dim(n.int("axis", -1), x.shape.length)];
  const p = n.int("p", 2);
  if (p !== 1 && p !== 2) throw n.fail(`the attribute p is ${p}; expected 1 or 2`);
  const norm = lp(x.node, axis === undefined ? [] : [axis], p);
  return { ...x, node: ops.select(eq(norm, 0), 0, div(x.node, ops.select(eq(norm, 0), 1, norm))) };
}

const isInteger = (x: Node): boolean => x.type.dtype === "i32" || x.type.dtype === "u32";
/** Computes integers through floats. */
const throughFloats = (make: (x: Node) => Node) => (x: Node) =>
  isInteger(x) ? cast(make(cast(x, "f32")), x.type.dtype) : make(x);

export const averageOverSpace = (n: NodeView): Value => overSpace(n, (x, over, count) => mean(total(x, over), count));

export const reductionRecords: Records = {
  ReduceSum: reduction({ reduce: total, nothing: 0 }),
  ReduceMean: reduction({ reduce: (x, over, count) => mean(total(x, over), count) }),
  ReduceMax: reduction({ reduce: extreme(reduceMax), nothing: Number.NEGATIVE_INFINITY }),
  ReduceMin: reduction({ reduce: extreme(reduceMin), nothing: Number.POSITIVE_INFINITY }),
  ReduceProd: reduction({ reduce: overAxes((x, over) => reduceProd(x, over)), nothing: 1 }),
  ReduceL1: reduction({ each: (x) => abs(x), reduce: total, nothing: 0 }),
  ReduceL2: reduction({
    each: (x) => mul(x, x),
    reduce: (x, over) => throughFloats((y) => sqrt(y))(total(x, over)),
    nothing: 0,
  }),
  ReduceSumSquare: reduction({ each: (x) => mul(x, x), reduce: total, nothing: 0 }),
  ReduceLogSum: reduction({
    reduce: (x, over) => throughFloats((y) => log(y))(total(x, over)),
    nothing: Number.NEGATIVE_INFINITY,
  }),
  ReduceLogSumExp: reduction({
    reduce: (x, over) => throughFloats((y) => logSumExp(y, over))(x),
    nothing: Number.NEGATIVE_INFINITY,
  }),
  Softmax: alongAxis(
    (x, axis) => ops.softmax(x, axis),
    (x) => constantLike(1, x),
  ),
  LogSoftmax: alongAxis(
    (x, axis) => ops.logSoftmax(x, axis),
    (x) => constantLike(0, x),
  ),
  Hardmax: alongAxis(hardmax, (x) => constantLike(1, x)),
  ArgMax: arg(1),
  ArgMin: arg(-1),
  CumSum: running((x, over) => reduceSum(x, over), 0),
  CumProd: running((x, over) => reduceProd(x, over), 1),
  TopK: { build: topK },
  LpNormalization: { build: lpNormalization },
  GlobalAveragePool: { build: averageOverSpace },
  GlobalMaxPool: { build: (n) => overSpace(n, extreme(reduceMax)) },
  GlobalLpPool: { build: (n) => overSpace(n, (x, over) => lp(x, over, n.int("p", 2))) },
};

/** Reduces all dimensions except batch and channel. */
function overSpace(n: NodeView, reduce: Fold["reduce"]): Value {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  return reduceOver(
    x,
    x.shape.flatMap((_, i) => (i > 1 ? [i] : [])),
    true,
    { reduce },
  );
}
