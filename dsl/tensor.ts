/**
 * Tensors typed by the set of their axis names, and the ops on them. A tensor is a graph node: calling an op records
 * it. Sizes and dtypes are checked while tracing (ShapeError at the caller's line); axis names already by `tsc`.
 */
import { type Along, type Dim, type DType, namesOf, ops, type Typed, typed } from "../compiler/index.ts";
import type { Axis } from "./axis.ts";
import { checkedDType, checkOptions } from "./options.ts";

/** A tensor with exactly the axes A, in any order; `Tensor<never>` is a scalar. */
export type Tensor<A extends string = never> = Typed<A>;

/**
 * A tensor whose axes are not tracked. Generic layers use it internally, where `tsc` cannot do set arithmetic on type
 * variables, and state the axes of their result.
 */
// biome-ignore lint/suspicious/noExplicitAny: this is the one place where axes are given up on purpose
export type AnyTensor = Tensor<any>;

export { typed } from "../compiler/index.ts";

/** The axis names of a tensor type. */
export type AxesOf<T> = T extends Tensor<infer A> ? A : never;

const names = (axes: Along<string>): string[] => namesOf(axes);

// Ops typed by their kind: elementwise and reductions.
/**
 * a + b, broadcast by axis name: [A...], [B...] -> [A... ∪ B...]; one may be a number. Throws ShapeError if dtypes
 * differ.
 */
export const add: ops.Binary = ops.add;
/** a − b, broadcast by axis name: [A...], [B...] -> [A... ∪ B...]; one may be a number. */
export const sub: ops.Binary = ops.sub;
/** a · b elementwise, broadcast by axis name: [A...], [B...] -> [A... ∪ B...]; one may be a number. */
export const mul: ops.Binary = ops.mul;
/** a / b of floats, broadcast by axis name: [A...], [B...] -> [A... ∪ B...]; integers take `idiv`. */
export const div: ops.Binary = ops.div;
/** Integer division, truncated towards 0: i32 or u32. */
export const idiv: ops.Binary = ops.idiv;
/** The remainder of `idiv`: i32 or u32. */
export const mod: ops.Binary = ops.mod;
/** a to the power of b: floats. */
export const pow: ops.Binary = ops.pow;
/** The larger of a and b, broadcast by axis name. To reduce one tensor: `reduceMax`. */
export const max: ops.Binary = ops.max;
/** The smaller of a and b, broadcast by axis name. To reduce one tensor: `reduceMin`. */
export const min: ops.Binary = ops.min;
/** a = b: bool [A... ∪ B...]. */
export const eq: ops.Binary = ops.eq;
/** a ≠ b: bool [A... ∪ B...]. */
export const ne: ops.Binary = ops.ne;
/** a < b: bool [A... ∪ B...]. */
export const lt: ops.Binary = ops.lt;
/** a ≤ b: bool [A... ∪ B...]. */
export const le: ops.Binary = ops.le;
/** a > b: bool [A... ∪ B...]. */
export const gt: ops.Binary = ops.gt;
/** a ≥ b: bool [A... ∪ B...]. */
export const ge: ops.Binary = ops.ge;
/** Logical and: bool. */
export const and: ops.Binary = ops.and;
/** Logical or: bool. */
export const or: ops.Binary = ops.or;
/** Logical not: bool. */
export const not: ops.Unary = ops.not;
/** −x. */
export const neg: ops.Unary = ops.neg;
/** |x|. */
export const abs: ops.Unary = ops.abs;
/** e to the power of x: floats. */
export const exp: ops.Unary = ops.exp;
/** exp(x) − 1, exact near 0. */
export const expm1: ops.Unary = ops.expm1;
/** The natural logarithm: floats. */
export const log: ops.Unary = ops.log;
/** √x: floats. */
export const sqrt: ops.Unary = ops.sqrt;
/** 1 / √x: floats. */
export const rsqrt: ops.Unary = ops.rsqrt;
/** The sine of radians: floats. */
export const sin: ops.Unary = ops.sin;
/** The cosine of radians: floats. */
export const cos: ops.Unary = ops.cos;
/** The hyperbolic tangent: floats. */
export const tanh: ops.Unary = ops.tanh;
/** The error function: floats. */
export const erf: ops.Unary = ops.erf;
/** The largest integer ≤ x, as a float. */
export const floor: ops.Unary = ops.floor;
/** The nearest integer, ties to even, as torch.round: a float. */
export const round: ops.Unary = ops.round;
/** The same with the gradient of x, for training what is quantized: the straight-through estimator. */
export const roundStraightThrough: ops.Unary = ops.roundStraightThrough;
/** 1 / (1 + exp(−x)): floats. */
export const sigmoid: ops.Unary = ops.sigmoid;
/** max(x, 0): floats. */
export const relu: ops.Unary = ops.relu;
/** x · Φ(x), exact, as torch.nn.GELU(): floats. */
export const gelu: ops.Unary = ops.gelu;
/** GELU approximated by tanh, as gelu_new of transformers: floats. */
export const geluTanh: ops.Unary = ops.geluTanh;
/** x · σ(1.702 x), as in OpenAI's CLIP: floats. */
export const quickGelu: ops.Unary = ops.quickGelu;
/** x · σ(x), also called swish: floats. */
export const silu: ops.Unary = ops.silu;

/** x, with no gradient flowing through it. */
export const stopGradient: ops.Unary = ops.stopGradient;

/** a where the condition, bool, is true, else b; all broadcast by axis name, and a and b have one dtype. */
export const select: ops.Ternary = ops.select;

/** The sum over the given axes: [A...] -> [A... − over...]. */
export const sum: ops.Reduction = ops.reduceSum;
/** The maximum over the given axes: [A...] -> [A... − over...]. */
export const reduceMax: ops.Reduction = ops.reduceMax;
/** The minimum over the given axes: [A...] -> [A... − over...]. */
export const reduceMin: ops.Reduction = ops.reduceMin;
/** The product over the given axes: [A...] -> [A... − over...]. */
export const reduceProd: ops.Reduction = ops.reduceProd;

/** x times a number: `mul`, for readability. */
export const scale = <A extends string>(x: Tensor<A>, by: number): Tensor<A> => mul(x, by);

/**
 * x in another dtype. A float becomes an integer by truncation towards 0, within its range (NaN: 0); to bool, any value
 * but 0 is true.
 */
export const cast = <A extends string>(x: Tensor<A>, to: DType): Tensor<A> =>
  typed(ops.cast(x, checkedDType("cast", to)));

/** Σ a·b over the given axes; other axes that both operands have are batch axes. */
export const contract = <A extends string, B extends string, K extends A & B>(
  a: Tensor<A>,
  b: Tensor<B>,
  over: Along<K>,
): Tensor<Exclude<A | B, K>> => typed(ops.contract(a, b, names(over)));

/** The mean over the given axes: floats [A...] -> [A... − over...]. */
export const mean = <A extends string, K extends A>(x: Tensor<A>, over: Along<K>): Tensor<Exclude<A, K>> =>
  typed(ops.reduceMean(x, names(over)));

/** The index of the largest value along an axis; i32. */
export const argmax = <A extends string, K extends A>(x: Tensor<A>, over: Axis<K>): Tensor<Exclude<A, K>> =>
  typed(ops.argmax(x, over.name));

/** exp x / Σ exp x along an axis: floats [A...] -> [A...]. */
export const softmax = <A extends string, K extends A>(x: Tensor<A>, over: Axis<K>): Tensor<A> =>
  typed(ops.softmax(x, over.name));

/** log Σ exp x along an axis, without overflow: floats [A...] -> [A... − over]. */
export const logsumexp = <A extends string, K extends A>(x: Tensor<A>, over: Axis<K>): Tensor<Exclude<A, K>> =>
  typed(ops.logsumexp(x, over.name));

/** log softmax, numerically stable: prefer it to subtracting a logsumexp from the logits. */
export const logSoftmax = <A extends string, K extends A>(x: Tensor<A>, over: Axis<K>): Tensor<A> =>
  typed(ops.logSoftmax(x, over.name));

/** −log softmax(logits)[label] of each row, in nats. logits [..., class], label i32 [...] -> [...] */
export const crossEntropy = <A extends string, K extends A>(
  logits: Tensor<A>,
  label: Tensor<Exclude<A, K>>,
  over: Axis<K>,
): Tensor<Exclude<A, K>> => typed(ops.crossEntropy(logits, label, over.name));

/** x scaled to unit L2 norm over the given axes. */
export const l2Normalize = <A extends string, K extends A>(x: Tensor<A>, over: Along<K>): Tensor<A> =>
  typed(ops.l2Normalize(x, names(over)));

/** The same values with one axis renamed: the axis in a second role. */
export const rename = <A extends string, F extends A, T extends string>(
  x: Tensor<A>,
  from: Axis<F>,
  to: Axis<T>,
): Tensor<Exclude<A, F> | T> => typed(ops.rename(x, from.name, to.name));

/** Splits an axis into several, the first outermost: [..., from] -> [..., to...]. The product of their sizes is its. */
export const split = <A extends string, F extends A, T extends string>(
  x: Tensor<A>,
  from: Axis<F>,
  into: readonly Axis<T>[],
): Tensor<Exclude<A, F> | T> => typed(ops.split(x, from.name, into));

/** Merges several axes into one, the first outermost: [..., from...] -> [..., to], of the product of their sizes. */
export const merge = <A extends string, F extends A, T extends string>(
  x: Tensor<A>,
  from: readonly Axis<F>[],
  into: Axis<T>,
): Tensor<Exclude<A, F> | T> => typed(ops.merge(x, names(from), into.name));

/** `length` elements of an axis from `start`, at least one and all inside the axis, which keeps its name. */
export const slice = <A extends string, K extends A>(
  x: Tensor<A>,
  along: Axis<K>,
  start: Dim,
  length: Dim,
): Tensor<A> => typed(ops.slice(x, along.name, start, length));

/** The element of an axis at `index`, counted from 0: [..., along] -> [...]. */
export const at = <A extends string, K extends A>(x: Tensor<A>, along: Axis<K>, index: Dim): Tensor<Exclude<A, K>> =>
  typed(ops.at(x, along.name, index));

/**
 * x padded with `low` elements before and `high` after along an axis, each `value`: [A...] -> [A...], the axis longer.
 */
export const pad = <A extends string, K extends A>(
  x: Tensor<A>,
  along: Axis<K>,
  low: Dim,
  high: Dim,
  value = 0,
): Tensor<A> => typed(ops.pad(x, along.name, low, high, value));

/** Tensors concatenated along an axis; their other axes are equal: [A...] -> [A...]. */
export const concat = <A extends string, K extends A>(parts: readonly Tensor<A>[], along: Axis<K>): Tensor<A> =>
  typed(ops.concat(parts, along.name));

/** x with its axes in the given order, which matters only for a graph's inputs and outputs. */
export const transpose = <A extends string>(x: Tensor<A>, order: readonly Axis<A>[]): Tensor<A> =>
  typed(ops.transpose(x, names(order)));

/** x repeated along new axes. */
export const broadcast = <A extends string, B extends string>(x: Tensor<A>, along: Along<B>): Tensor<A | B> =>
  typed(ops.broadcast(x, Array.isArray(along) ? along : [along as Axis]));

/** Sliding windows along an axis: x[i·stride + k·dilation] at [out = i, kernel = k]. */
export const window = <A extends string, K extends A, O extends string, W extends string>(
  x: Tensor<A>,
  along: Axis<K>,
  out: O,
  kernel: Axis<W>,
  stride = 1,
  dilation = 1,
): Tensor<Exclude<A, K> | O | W> => typed(ops.window(x, along.name, out, kernel, stride, dilation));

/**
 * The windows of a transposed convolution, which is a contraction over them: x[(i + low − k·dilation) / stride] at
 * [into = i, kernel = k], 0 where that is not an element of x.
 */
export const transposedWindow = <A extends string, K extends A, O extends string, W extends string>(
  x: Tensor<A>,
  along: Axis<K>,
  into: Axis<O>,
  kernel: Axis<W>,
  steps: ops.TransposedSteps = {},
): Tensor<Exclude<A, K> | O | W> => typed(ops.transposedWindow(x, along.name, into, kernel, steps));

/** Rows of `table` along an axis, chosen by an integer index; axes that both operands have are batch axes. */
export const gather = <A extends string, I extends string, K extends A>(
  table: Tensor<A>,
  index: Tensor<I>,
  along: Axis<K>,
): Tensor<Exclude<A, K> | I> => typed(ops.gather(table, index, along.name));

/** 0, 1, 2 ... along an axis; i32. */
export const iota = <N extends string>(along: Axis<N>, dtype: DType = "i32"): Tensor<N> =>
  typed(ops.iota(along, checkedDType("a counter", dtype)));

/**
 * The size of an axis, or a size, as a scalar tensor: of a symbolic one, its value when the graph runs. Default f32,
 * for arithmetic such as positions relative to the length of an axis.
 */
export const sizeOf = (of: Axis | Dim, dtype: DType = "f32"): Tensor<never> =>
  typed(ops.sizeOf(typeof of === "object" && "size" in of ? of.size : of, checkedDType("a size", dtype)));

/** A number as a scalar tensor. */
export const constant = (value: number, dtype: DType = "f32"): Tensor<never> =>
  typed(ops.constant(value, checkedDType("constant", dtype)));

/** A table of constants, row-major over the axes. */
export const table = <A extends string>(
  values: readonly number[],
  axes: readonly Axis<A>[],
  dtype: DType = "f32",
): Tensor<A> => typed(ops.table(values, axes, checkedDType("table", dtype)));

/** A tensor fed at each run. In exported files its dimensions have the order of `axes`. */
export const input = <A extends string>(name: string, dtype: DType, axes: readonly Axis<A>[]): Tensor<A> =>
  typed(ops.input(name, checkedDType(`input "${name}"`, dtype), axes));

/** A tensor kept between runs. */
export const state = <A extends string = never>(name: string, dtype: DType, axes: readonly Axis<A>[]): Tensor<A> =>
  typed(ops.state(name, checkedDType(`state "${name}"`, dtype), axes));

/** The axes that attention contracts, and what is done to its logits. */
export interface AttentionOptions<D extends string, K extends string, B extends string = never> {
  /** The axis contracted between q and k. */
  readonly dot: Axis<D>;
  /** The key axis. */
  readonly over: Axis<K>;
  /** Multiplies the logits; default 1/sqrt of the dot axis's size. */
  readonly scale?: number;
  /**
   * Bounds the scaled logits x, softcap · tanh(x / softcap), before a bias or a mask, as in Gemma 2; default no bound.
   * Above 0.
   */
  readonly softcap?: number;
  /**
   * Added to the scaled logits: a tensor with some of their axes, such as learned relative positions, or an expression
   * of positions, such as ALiBi's, which is then never materialized. −1e30 or less hides a key.
   */
  readonly bias?: Tensor<B>;
}

/**
 * softmax(scale · q·k, masked) · v over the key axis. `mask` is true where a key is visible; as an expression of
 * positions (causal, prefix, padding) it is never materialized. A fully masked row gives 0.
 */
export function attention<
  Q extends string,
  K extends string,
  V extends string,
  D extends Q & K,
  O extends K & V,
  M extends string = never,
  B extends string = never,
>(
  q: Tensor<Q>,
  k: Tensor<K>,
  v: Tensor<V>,
  options: AttentionOptions<D, O, B>,
  mask?: Tensor<M>,
): Tensor<Exclude<Q, D> | Exclude<V, O> | Exclude<B, O>> {
  checkOptions("attention", options, { dot: true, over: true, scale: true, softcap: true, bias: true });
  const { dot, over, softcap, bias } = options;
  const factor = options.scale ?? (dot.size as number) ** -0.5;
  const axes = { dot: dot.name, over: over.name, scale: factor, ...(softcap !== undefined && { softcap }) };
  return typed(bias ? ops.biasedAttention(q, k, v, bias, axes, mask) : ops.attention(q, k, v, axes, mask));
}
