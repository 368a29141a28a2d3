/**
 * Tensors typed by the set of their axis names, and the functions on them. A tensor is a graph node: calling a function
 * records it. Sizes and dtypes are checked while tracing (ShapeError at the caller's line); axis names already by `tsc`.
 */
import { type Dim, type DType, type Node, ops } from "../compiler/index.ts";
import type { Axis } from "./axis.ts";

declare const axesOf: unique symbol;

/** A tensor with exactly the axes A, in any order; `Tensor<never>` is a scalar. */
export type Tensor<A extends string = never> = Node & { readonly [axesOf]: (a: A) => A };

/**
 * A tensor whose axes nobody tracks. Generic layers compute on these inside, where `tsc` cannot follow set arithmetic on
 * type variables, and state the axes of what they return.
 */
// biome-ignore lint/suspicious/noExplicitAny: this is the one place where axes are given up on purpose
export type AnyTensor = Tensor<any>;

/** The axis names of a tensor type. */
export type AxesOf<T> = T extends Tensor<infer A> ? A : never;

/** States the axes of a node that the compiler's builders made. The names are checked by whoever calls with typed axes. */
export const typed = <A extends string>(node: Node): Tensor<A> => node as Tensor<A>;

type Names<N extends string> = Axis<N> | readonly Axis<N>[];
const names = (axes: Names<string>): string[] => (Array.isArray(axes) ? axes : [axes as Axis]).map((a: Axis) => a.name);

type Binary = <A extends string = never, B extends string = never>(
  a: Tensor<A> | number,
  b: Tensor<B> | number,
) => Tensor<A | B>;
type Unary = <A extends string>(x: Tensor<A>) => Tensor<A>;

export const add = ops.add as unknown as Binary;
export const sub = ops.sub as unknown as Binary;
export const mul = ops.mul as unknown as Binary;
export const div = ops.div as unknown as Binary;
export const idiv = ops.idiv as unknown as Binary;
export const mod = ops.mod as unknown as Binary;
export const pow = ops.pow as unknown as Binary;
export const max = ops.max as unknown as Binary;
export const min = ops.min as unknown as Binary;
export const eq = ops.eq as unknown as Binary;
export const ne = ops.ne as unknown as Binary;
export const lt = ops.lt as unknown as Binary;
export const le = ops.le as unknown as Binary;
export const gt = ops.gt as unknown as Binary;
export const ge = ops.ge as unknown as Binary;
export const and = ops.and as unknown as Binary;
export const or = ops.or as unknown as Binary;
export const not = ops.not as unknown as Unary;
export const neg = ops.neg as unknown as Unary;
export const abs = ops.abs as unknown as Unary;
export const exp = ops.exp as unknown as Unary;
export const expm1 = ops.expm1 as unknown as Unary;
export const log = ops.log as unknown as Unary;
export const sqrt = ops.sqrt as unknown as Unary;
export const rsqrt = ops.rsqrt as unknown as Unary;
export const sin = ops.sin as unknown as Unary;
export const cos = ops.cos as unknown as Unary;
export const tanh = ops.tanh as unknown as Unary;
export const erf = ops.erf as unknown as Unary;
export const floor = ops.floor as unknown as Unary;
export const sigmoid = ops.sigmoid as unknown as Unary;
export const relu = ops.relu as unknown as Unary;
export const gelu = ops.gelu as unknown as Unary;
export const geluTanh = ops.geluTanh as unknown as Unary;
export const quickGelu = ops.quickGelu as unknown as Unary;
export const silu = ops.silu as unknown as Unary;

/** a where the condition holds, else b. */
export const select = ops.select as unknown as <C extends string, A extends string = never, B extends string = never>(
  condition: Tensor<C>,
  a: Tensor<A> | number,
  b: Tensor<B> | number,
) => Tensor<A | B | C>;

/** x times a number: a name for what reads better than mul. */
export const scale = <A extends string>(x: Tensor<A>, by: number): Tensor<A> => mul(x, by);

/** The same values in another dtype. */
export const cast = <A extends string>(x: Tensor<A>, to: DType): Tensor<A> => typed(ops.cast(x, to));

/** Σ a·b over the axes given; any other axis that both carry is batched. */
export const contract = <A extends string, B extends string, K extends A & B>(
  a: Tensor<A>,
  b: Tensor<B>,
  over: Names<K>,
): Tensor<Exclude<A | B, K>> => typed(ops.contract(a, b, names(over)));

export const sum = <A extends string, K extends A>(x: Tensor<A>, over: Names<K>): Tensor<Exclude<A, K>> =>
  typed(ops.reduceSum(x, names(over)));

export const mean = <A extends string, K extends A>(x: Tensor<A>, over: Names<K>): Tensor<Exclude<A, K>> =>
  typed(ops.reduceMean(x, names(over)));

export const largest = <A extends string, K extends A>(x: Tensor<A>, over: Names<K>): Tensor<Exclude<A, K>> =>
  typed(ops.reduceMax(x, names(over)));

/** The index of the largest value along an axis; i32. */
export const argmax = <A extends string, K extends A>(x: Tensor<A>, over: Axis<K>): Tensor<Exclude<A, K>> =>
  typed(ops.argmax(x, over.name));

export const softmax = <A extends string, K extends A>(x: Tensor<A>, over: Axis<K>): Tensor<A> =>
  typed(ops.softmax(x, over.name));

export const logsumexp = <A extends string, K extends A>(x: Tensor<A>, over: Axis<K>): Tensor<Exclude<A, K>> =>
  typed(ops.logsumexp(x, over.name));

/** log softmax, which loses nothing however large x is: subtract no logit from a logsumexp. */
export const logSoftmax = <A extends string, K extends A>(x: Tensor<A>, over: Axis<K>): Tensor<A> =>
  typed(ops.logSoftmax(x, over.name));

/** −log softmax(logits)[label] of each row, in nats. logits [..., class], label i32 [...] -> [...] */
export const crossEntropy = <A extends string, K extends A>(
  logits: Tensor<A>,
  label: Tensor<Exclude<A, K>>,
  over: Axis<K>,
): Tensor<Exclude<A, K>> => typed(ops.crossEntropy(logits, label, over.name));

/** x scaled to unit length over the axes given. */
export const l2Normalize = <A extends string, K extends A>(x: Tensor<A>, over: Names<K>): Tensor<A> =>
  typed(ops.l2Normalize(x, names(over)));

/** The same axis in a second role. */
export const rename = <A extends string, F extends A, T extends string>(
  x: Tensor<A>,
  from: Axis<F>,
  to: Axis<T>,
): Tensor<Exclude<A, F> | T> => typed(ops.rename(x, from.name, to.name));

/** One axis as several, the first slowest. */
export const split = <A extends string, F extends A, T extends string>(
  x: Tensor<A>,
  from: Axis<F>,
  into: readonly Axis<T>[],
): Tensor<Exclude<A, F> | T> => typed(ops.split(x, from.name, into));

/** Several axes as one, the first slowest. */
export const merge = <A extends string, F extends A, T extends string>(
  x: Tensor<A>,
  from: readonly Axis<F>[],
  into: Axis<T>,
): Tensor<Exclude<A, F> | T> => typed(ops.merge(x, names(from), into.name));

/** `length` elements of an axis from `start`. */
export const slice = <A extends string, K extends A>(
  x: Tensor<A>,
  along: Axis<K>,
  start: Dim,
  length: Dim,
): Tensor<A> => typed(ops.slice(x, along.name, start, length));

/** One element of an axis, without the axis. */
export const at = <A extends string, K extends A>(x: Tensor<A>, along: Axis<K>, index: Dim): Tensor<Exclude<A, K>> =>
  typed(ops.at(x, along.name, index));

export const pad = <A extends string, K extends A>(
  x: Tensor<A>,
  along: Axis<K>,
  low: Dim,
  high: Dim,
  value = 0,
): Tensor<A> => typed(ops.pad(x, along.name, low, high, value));

export const concat = <A extends string, K extends A>(parts: readonly Tensor<A>[], along: Axis<K>): Tensor<A> =>
  typed(ops.concat(parts, along.name));

/** x with its axes in the order given: for the borders of a graph only. */
export const ordered = <A extends string>(x: Tensor<A>, order: readonly Axis<A>[]): Tensor<A> =>
  typed(ops.transpose(x, names(order)));

/** The same values along new axes. */
export const broadcast = <A extends string, B extends string>(x: Tensor<A>, along: Names<B>): Tensor<A | B> =>
  typed(ops.broadcast(x, Array.isArray(along) ? along : [along as Axis]));

/** Sliding windows along an axis: x[i·stride + k] at [out = i, kernel = k]. */
export const window = <A extends string, K extends A, O extends string, W extends string>(
  x: Tensor<A>,
  along: Axis<K>,
  out: O,
  kernel: Axis<W>,
  stride = 1,
): Tensor<Exclude<A, K> | O | W> => typed(ops.window(x, along.name, out, kernel, stride));

/** Rows of `table` along an axis, chosen by an integer index; axes that both carry are batched. */
export const gather = <A extends string, I extends string, K extends A>(
  table: Tensor<A>,
  index: Tensor<I>,
  along: Axis<K>,
): Tensor<Exclude<A, K> | I> => typed(ops.gather(table, index, along.name));

/** 0, 1, 2 ... along an axis; i32. */
export const iota = <N extends string>(along: Axis<N>, dtype: DType = "i32"): Tensor<N> =>
  typed(ops.iota(along, dtype));

export const constant = (value: number, dtype: DType = "f32"): Tensor<never> => typed(ops.constant(value, dtype));

/** A table of constants, row-major over the axes. */
export const table = <A extends string>(
  values: readonly number[],
  axes: readonly Axis<A>[],
  dtype: DType = "f32",
): Tensor<A> => typed(ops.table(values, axes, dtype));

/** A tensor given at each run. */
export const input = <A extends string>(name: string, dtype: DType, axes: readonly Axis<A>[]): Tensor<A> =>
  typed(ops.input(name, dtype, axes));

/** A tensor kept between runs. */
export const state = <A extends string = never>(name: string, dtype: DType, axes: readonly Axis<A>[]): Tensor<A> =>
  typed(ops.state(name, dtype, axes));

export interface AttentionOptions<D extends string, K extends string> {
  /** The axis contracted between q and k. */
  readonly dot: Axis<D>;
  /** The key axis. */
  readonly over: Axis<K>;
  /** Multiplies the logits; 1/sqrt of the dot axis's size unless said. */
  readonly scale?: number;
}

/**
 * softmax(scale · q·k, masked) · v over the key axis; `mask` is true where a key is visible, and is best an expression of
 * positions (causal, prefix, padding), which then never becomes a tensor. A row that sees nothing gives 0.
 */
export function attention<
  Q extends string,
  K extends string,
  V extends string,
  D extends Q & K,
  O extends K & V,
  M extends string = never,
>(
  q: Tensor<Q>,
  k: Tensor<K>,
  v: Tensor<V>,
  options: AttentionOptions<D, O>,
  mask?: Tensor<M>,
): Tensor<Exclude<Q, D> | Exclude<V, O>> {
  const { dot, over } = options;
  const factor = options.scale ?? (dot.size as number) ** -0.5;
  return typed(ops.attention(q, k, v, { dot: dot.name, over: over.name, scale: factor }, mask));
}
